// The integer rules for floor, ceiling and rounding of log2 against the correctly rounded logarithm itself.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "quant/scalar.h"

namespace mpq {
namespace {

float rounded_log2(float x) { return static_cast<float>(std::log2(static_cast<long double>(x))); }

void expect_rules(float x) {
  const float log2 = rounded_log2(x);
  ASSERT_EQ(floor_log2(x), std::floor(log2)) << std::hexfloat << x;
  ASSERT_EQ(ceil_log2(x), std::ceil(log2)) << std::hexfloat << x;
  const int nearest = static_cast<int>(std::nearbyint(log2));
  ASSERT_EQ(power_of_two(round_log2(binade(x))), std::ldexp(1.0f, nearest)) << std::hexfloat << x;
  if (x < 0x1p-126f) return;
  ASSERT_EQ(power_of_two(floor_log2(normal_binade(x))), exp2i(floor_log2(x))) << std::hexfloat << x;
  ASSERT_EQ(power_of_two(ceil_log2(normal_binade(x))), exp2i(ceil_log2(x))) << std::hexfloat << x;
}

TEST(Log2, AroundEveryPowerOfTwoAndEveryMidpoint) {
  for (uint32_t exponent = 1; exponent < 255; ++exponent)
    for (int i = -100; i <= 100; ++i) {
      expect_rules(std::bit_cast<float>((exponent << 23) + (exponent == 1 ? std::abs(i) : i)));
      expect_rules(std::bit_cast<float>((exponent << 23 | 0x3504f3) + i));
    }
}

TEST(Log2, ThroughoutTheNumbers) {
  for (uint32_t bits = 0x00800000; bits < 0x7f800000; bits += 9973) expect_rules(std::bit_cast<float>(bits));
}

TEST(Log2, Subnormals) {
  for (uint32_t bits = 1; bits < 0x00800000; bits += bits < 4096 ? 1 : 997) expect_rules(std::bit_cast<float>(bits));
  for (int shift = 0; shift < 23; ++shift) {
    expect_rules(std::bit_cast<float>(1u << shift));
    expect_rules(std::bit_cast<float>((2u << shift) - 1));
  }
}

TEST(Log2, EndsOfTheLine) {
  EXPECT_EQ(floor_log2(INFINITY), log2_of_infinity);
  EXPECT_EQ(ceil_log2(INFINITY), log2_of_infinity);
  EXPECT_EQ(power_of_two(round_log2(binade(INFINITY))), INFINITY);
  EXPECT_LT(ceil_log2(0.0f), -149);
}

TEST(Exp2i, EqualsLdexp) {
  for (int e = -300; e <= 300; ++e) EXPECT_EQ(exp2i(e), std::ldexp(1.0f, e)) << e;
  EXPECT_EQ(exp2i(log2_of_infinity), INFINITY);
}

TEST(TwiceInverse, HalfOfItDividesByPowersOfTwo) {
  for (int e = -126; e <= 127; ++e) EXPECT_EQ(twice_inverse(exp2i(e)), std::ldexp(1.0f, 1 - e)) << e;
  for (int e = -149; e < -126; ++e) EXPECT_GT(twice_inverse(exp2i(e)), 0x1p127f) << e;
  EXPECT_EQ(twice_inverse(0.0f), INFINITY);
  EXPECT_EQ(twice_inverse(INFINITY), 0.0f);
}

TEST(KeepNearZero, MixesInFloatingPoint) {
  EXPECT_EQ(keep_near_zero(1e-8f, 0.0f), 1e-8f);
  EXPECT_EQ(keep_near_zero(std::nextafter(1e-8f, 1.0f), 0.5f), 0.5f);
  EXPECT_FALSE(std::signbit(keep_near_zero(-0.0f, 0.0f)));
  EXPECT_TRUE(std::isnan(keep_near_zero(INFINITY, 1.0f)));
  EXPECT_TRUE(std::isnan(keep_near_zero(0.0f, NAN)));
}

}  // namespace
}  // namespace mpq
