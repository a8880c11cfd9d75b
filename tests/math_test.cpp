// The worst errors that kernels/math.h states beside its functions, over a dense sweep of floats; both instruction
// sets.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/simd.h"
#include "tests/kernel_hooks.h"

namespace mpq {
namespace {

using OnArrays = void (*)(const float*, float*, int64_t);

// Every `stride`-th float of [0, limit], with both signs.
std::vector<float> sweep(float limit, uint32_t stride) {
  std::vector<float> x;
  for (uint32_t bits = 0; bits <= std::bit_cast<uint32_t>(limit); bits += stride) {
    x.push_back(std::bit_cast<float>(bits));
    x.push_back(-x.back());
  }
  x.push_back(limit);
  x.push_back(-limit);
  return x;
}

// |y - exact| in units of the last place of a float of exact's size.
double ulps(float y, double exact) {
  const int exponent = std::max(std::ilogb(exact), -126);
  return std::abs(y - exact) / std::ldexp(1.0, exponent - 23);
}

double worst_ulps(OnArrays narrow, OnArrays wide, double (*exact)(double), const std::vector<float>& x) {
  std::vector<float> y(x.size()), other(x.size());
  narrow(x.data(), y.data(), static_cast<int64_t>(x.size()));
  if (has_simd(Simd::avx512)) {
    wide(x.data(), other.data(), static_cast<int64_t>(x.size()));
    EXPECT_EQ(std::memcmp(y.data(), other.data(), y.size() * sizeof(float)), 0) << "avx2 and avx512 differ";
  }
  double worst = 0;
  float at = 0;
  for (size_t i = 0; i < x.size() && !std::isnan(worst); ++i)
    if (const double e = exact(x[i]) == 0 ? std::abs(y[i]) * 0x1p149 : ulps(y[i], exact(x[i])); !(e <= worst))
      worst = e, at = x[i];
  std::printf("worst %.3f ulp at %.9g of %zu floats\n", worst, at, x.size());
  return worst;
}

constexpr uint32_t kStride = 1019;  // a prime: 2 million of the floats up to 88

TEST(Math, Exp) {
  std::vector<float> x = sweep(87.0f, kStride);
  for (float f = 87.0f; f <= 88.0f; f += 1e-4f) x.push_back(f);
  EXPECT_LT(worst_ulps(avx2::exp_of, avx512::exp_of, std::exp, x), 1.0);
  const std::vector<float> beyond = {-200, -88, 100};
  std::vector<float> y(3);
  avx2::exp_of(beyond.data(), y.data(), 3);
  EXPECT_EQ(y[0], y[1]);
  EXPECT_NEAR(y[0] / std::exp(-87.0), 1, 1e-6);
  EXPECT_NEAR(y[2] / std::exp(88.0), 1, 1e-6);
}

TEST(Math, Erf) { EXPECT_LT(worst_ulps(avx2::erf_of, avx512::erf_of, std::erf, sweep(10.0f, kStride)), 1.5); }

TEST(Math, Tanh) { EXPECT_LT(worst_ulps(avx2::tanh_of, avx512::tanh_of, std::tanh, sweep(30.0f, kStride)), 2.0); }

}  // namespace
}  // namespace mpq
