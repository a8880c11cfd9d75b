// Exact float32 arithmetic on scalars, shared by the formats. Branch-free, so that a loop around it becomes vector
// code. Host and device get the same bits: every operation is one IEEE operation, and where a product feeds an addition
// it is exact, or written product(a, b): so contraction into fused multiply-adds changes nothing either.
#pragma once
#include <cmath>
#include <cstdint>

#include "base/hd.h"

namespace mpq {

HD uint32_t to_bits(float x) { return __builtin_bit_cast(uint32_t, x); }
HD float from_bits(uint32_t bits) { return __builtin_bit_cast(float, bits); }
HD float product(float a, float b) {  // rounded by itself
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}
HD float magnitude(float x) { return from_bits(to_bits(x) & 0x7fffffffu); }
HD float with_sign(float magnitude, float sign) {
  return from_bits(to_bits(magnitude) | (to_bits(sign) & 0x80000000u));
}

HD bool finite(float v) { return v - v == 0.0f; }
HD bool finite(double v) { return v - v == 0.0; }

HD float clamp(float v, float lo, float hi) {  // NaN stays NaN
  v = v < lo ? lo : v;
  return v > hi ? hi : v;
}
HD int clamp(int v, int lo, int hi) {
  v = v < lo ? lo : v;
  return v > hi ? hi : v;
}

// 2^e: 0 below 2^-149, +infinity from 2^128 on. Two normal factors, so subnormal results need no case of their own.
HD float exp2i(int e) {
  e = clamp(e, -160, 128);
  const int half = e >> 1;
  return from_bits(static_cast<uint32_t>(half + 127) << 23) * from_bits(static_cast<uint32_t>(e - half + 127) << 23);
}

// x = 2^exponent (1 + mantissa / 2^23) for finite x > 0, subnormals included; 0 counts as 2^-151, infinity as 2^128.
struct Binade {
  int exponent, mantissa;
};
HD Binade binade(float x) {
  const bool subnormal = x < 0x1p-126f;
  const uint32_t bits = to_bits(subnormal ? x * 0x1p24f : x);
  return {static_cast<int>(bits >> 23) - (subnormal ? 151 : 127), static_cast<int>(bits & 0x7fffffu)};
}

// Floor, ceiling and rounding (ties to even) of the *correctly rounded float32* log2 x, x >= 0, as MASE computes them:
// a float a few units beside 2^k (or 2^(k + 1/2)) has that very log2. How many units depends only on the spacing of the
// floats around log2 x, 2^(f - 23) with f = floor(log2 |k + 1/2|): about ln 2 * 2^f of the floats below 2^(k+1), half
// as many (they lie twice as far apart) above 2^k, and sqrt(1/2) ln 2 * 2^f on either side of 2^(k + 1/2).
HD int log2_slack_shift(int k) { return 7 + 127 - static_cast<int>(to_bits(magnitude(k + 0.5f)) >> 23); }  // 7 - f
inline constexpr int log2_of_infinity = 4096;

HD int floor_log2(float x) {
  const auto [k, m] = binade(x);
  const int floor = m >= (1 << 23) - (88 >> log2_slack_shift(k)) ? k + 1 : k;
  return x > 0x1.fffffep127f ? log2_of_infinity : floor;
}
HD int ceil_log2(float x) {
  const auto [k, m] = binade(x);
  const int ceil = m <= (44 >> log2_slack_shift(k)) ? k : k + 1;
  return x > 0x1.fffffep127f ? log2_of_infinity : ceil;
}
HD int round_log2(float x) {
  const auto [k, m] = binade(x);
  const int shift = log2_slack_shift(k);
  const int up = 0x3504f3 + (k & 1 ? -(63 >> shift) : (64 >> shift) + (shift > 2));  // sqrt 2 = 1 + 0x3504f3.33 / 2^23
  const int round = m >= up ? k + 1 : k;
  return x > 0x1.fffffep127f ? log2_of_infinity : round;
}

// MASE adds this to |x| before taking its log2, and leaves |x| <= 1e-8 as it is: mixed in floating point, so that -0
// becomes +0, infinity becomes NaN, and a NaN in q reaches even the zeros.
inline constexpr float log2_epsilon = 1e-9f;
HD float keep_near_zero(float x, float q) {
  const float near = magnitude(x) <= 1e-8f ? 1.0f : 0.0f;
  return (1.0f - near) * q + near * x;
}

}  // namespace mpq
