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
#ifdef __CUDA_ARCH__
  asm("max.NaN.f32 %0, %0, %1;\n\tmin.NaN.f32 %0, %0, %2;" : "+f"(v) : "f"(lo), "f"(hi));
  return v;
#else
  v = v < lo ? lo : v;
  return v > hi ? hi : v;
#endif
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
HD float normal_exp2i(int e) { return from_bits(static_cast<uint32_t>(e + 127) << 23); }  // -126 <= e <= 127
HD double double_exp2i(int e) { return __builtin_bit_cast(double, static_cast<uint64_t>(e + 1023) << 52); }
// 2 / power: dividing by a power of two takes many times as long as multiplying. Twice, as 1 / 2^127 is subnormal. Also
// of 0 and +infinity; of a subnormal power, whose inverse no float holds, some number above 2^127.
HD float twice_inverse(float power) { return from_bits(0x7f800000u - to_bits(power)); }

// x = 2^exponent (1 + mantissa / 2^23) for finite x > 0, subnormals included; 0 counts as 2^-151, infinity as 2^128.
struct Binade {
  uint32_t bits;  // of x; where that is subnormal, of 2^24 x
  int bias;       // of the exponent there

  HD int exponent() const { return static_cast<int>(bits >> 23) - bias; }
  HD int mantissa() const { return static_cast<int>(bits & 0x7fffffu); }
};
HD Binade binade(float x) {
  const bool subnormal = x < 0x1p-126f;
  return {to_bits(subnormal ? x * 0x1p24f : x), subnormal ? 151 : 127};
}
HD Binade normal_binade(float x) { return {to_bits(x), 127}; }  // x is not subnormal

// Floor, ceiling and rounding (ties to even) of the *correctly rounded float32* log2 x, x >= 0, as MASE computes them:
// a float a few units beside 2^k (or 2^(k + 1/2)) has that very log2. How many units depends only on the spacing of the
// floats around log2 x, 2^(f - 23) with f = floor(log2 |k + 1/2|): about ln 2 * 2^f of the floats below 2^(k+1), half
// as many (they lie twice as far apart) above 2^k, and sqrt(1/2) ln 2 * 2^f on either side of 2^(k + 1/2).
// What is added to the bits carries into the exponent where the mantissa is large enough to round up.
HD int log2_slack_shift(const Binade& x) {
  const float half = from_bits(x.bits >> 22 | 0x4a800001u) - (0x1p22f + static_cast<float>(x.bias));  // k + 1/2
  return 7 + 127 - static_cast<int>(to_bits(magnitude(half)) >> 23);                                  // 7 - f
}
HD Binade floor_log2(const Binade& x) { return {x.bits + (88u >> log2_slack_shift(x)), x.bias}; }
HD Binade ceil_log2(const Binade& x) { return {x.bits + 0x7fffffu - (44u >> log2_slack_shift(x)), x.bias}; }
HD Binade round_log2(const Binade& x) {
  const int shift = log2_slack_shift(x);
  const bool even = (x.bits & 0x800000u) != 0;                                      // k: the bias is odd
  const int up = 0x3504f3 + (even ? (64 >> shift) + (shift > 2) : -(63 >> shift));  // sqrt 2 = 1 + 0x3504f3.33 / 2^23
  return {x.bits + 0x800000u - static_cast<uint32_t>(up), x.bias};
}
// 2^exponent, which is infinite for infinity.
HD float power_of_two(const Binade& x) { return from_bits(x.bits & 0x7f800000u) * (x.bias == 127 ? 1.0f : 0x1p-24f); }

inline constexpr int log2_of_infinity = 4096;
HD int floor_log2(float x) { return x > 0x1.fffffep127f ? log2_of_infinity : floor_log2(binade(x)).exponent(); }
HD int ceil_log2(float x) { return x > 0x1.fffffep127f ? log2_of_infinity : ceil_log2(binade(x)).exponent(); }

// MASE adds this to |x| before taking its log2, and leaves |x| <= 1e-8 as it is: mixed in floating point, so that -0
// becomes +0, infinity becomes NaN, and a NaN in q reaches even the zeros.
inline constexpr float log2_epsilon = 1e-9f;
HD float keep_near_zero(float x, float q) {
  const float of_x = x + 0.0f * q, of_q = q + 0.0f * x;
  return magnitude(x) <= 1e-8f ? of_x : of_q;
}

}  // namespace mpq
