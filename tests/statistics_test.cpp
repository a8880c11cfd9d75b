#include "base/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace mpq {
namespace {

TEST(Statistics, WilsonInterval) {
  // Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3: 81/263.
  const Interval known = wilson_interval(81, 263);
  EXPECT_NEAR(known.low, 0.2553, 5e-5);
  EXPECT_NEAR(known.high, 0.3662, 5e-5);
  EXPECT_EQ(wilson_interval(0, 20).low, 0);
  EXPECT_NEAR(wilson_interval(0, 20).high, 0.1611, 5e-5);  // same table
  EXPECT_EQ(wilson_interval(0, 0).high, 1);
}

TEST(Statistics, McNemarExactAndApproximate) {
  EXPECT_DOUBLE_EQ(mcnemar_p(0, 0), 1);
  EXPECT_DOUBLE_EQ(mcnemar_p(5, 5), 1);
  EXPECT_DOUBLE_EQ(mcnemar_p(0, 6), 2.0 / 64);
  EXPECT_DOUBLE_EQ(mcnemar_p(1, 7), 2.0 * (1 + 8) / 256);
  EXPECT_DOUBLE_EQ(mcnemar_p(7, 1), mcnemar_p(1, 7));
  // chi-square (|59 - 80| - 1)^2 / 139 = 2.8777, one degree of freedom.
  EXPECT_NEAR(mcnemar_p(59, 80), 0.0898, 1e-4);
  EXPECT_DOUBLE_EQ(mcnemar_p(40, 40), 1);
}

TEST(Statistics, MeanOverSeeds) {
  const std::vector<double> accuracies{.8355, .8436, .8469, .8520, .8503};
  const Mean m = mean_of(accuracies);
  EXPECT_NEAR(m.mean, 0.84566, 1e-12);
  EXPECT_NEAR(m.deviation, 0.0065332, 1e-7);
  EXPECT_NEAR(m.interval.high - m.mean, 2.776445 * m.deviation / std::sqrt(5.0), 1e-9);
  EXPECT_TRUE(std::isinf(mean_of(std::vector<double>{1}).interval.low));
  // 31 values, t(30) = 2.0423 (tables); alternating +-1 around 0 and one 0.
  std::vector<double> many(31, 0.0);
  for (int i = 0; i < 30; ++i) many[i] = i % 2 ? 1 : -1;
  const Mean wide = mean_of(many);
  EXPECT_NEAR(wide.interval.high, 2.0423 * 1.0 / std::sqrt(31.0), 1e-4);
}

}  // namespace
}  // namespace mpq
