#include "base/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace mpq {
namespace {

constexpr double z975 = 1.959963984540054;  // 97.5 % quantile of the normal distribution

// 97.5 % quantile of Student's t: a table, then the expansion of Abramowitz and Stegun 26.7.5.
double t975(size_t freedom) {
  constexpr double table[] = {12.706205, 4.302653, 3.182446, 2.776445, 2.570582,
                              2.446912,  2.364624, 2.306004, 2.262157, 2.228139};
  if (freedom <= std::size(table)) return table[freedom - 1];
  const double z = z975, z2 = z * z, n = static_cast<double>(freedom);
  return z * (1 + (z2 + 1) / (4 * n) + ((5 * z2 + 16) * z2 + 3) / (96 * n * n) +
              (((3 * z2 + 19) * z2 + 17) * z2 - 15) / (384 * n * n * n));
}

// P(X <= k) for X binomial(n, 1/2), n < 64.
double binomial_half_below(int64_t k, int64_t n) {
  double sum = 0, term = std::ldexp(1.0, -static_cast<int>(n));
  for (int64_t i = 0; i <= k; ++i) {
    sum += term;
    term *= static_cast<double>(n - i) / static_cast<double>(i + 1);
  }
  return sum;
}

}  // namespace

Interval wilson_interval(int64_t correct, int64_t total) {
  check(correct >= 0 && correct <= total, "{} of {} rows correct", correct, total);
  if (total == 0) return {0, 1};
  const double n = static_cast<double>(total), p = static_cast<double>(correct) / n, z2 = z975 * z975;
  const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = z975 / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

double mcnemar_p(int64_t only_a, int64_t only_b) {
  check(only_a >= 0 && only_b >= 0, "{} and {} discordant rows", only_a, only_b);
  const int64_t n = only_a + only_b;
  if (n < 25) return std::min(1.0, 2 * binomial_half_below(std::min(only_a, only_b), n));
  const double difference = std::max(0.0, std::abs(static_cast<double>(only_a - only_b)) - 1);
  return std::erfc(difference / std::sqrt(2.0 * static_cast<double>(n)));  // chi-square with one degree of freedom
}

Mean mean_of(std::span<const double> values) {
  check(!values.empty(), "the mean of nothing");
  const double n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (double v : values) sum += v;
  const double mean = sum / n;
  for (double v : values) squares += (v - mean) * (v - mean);
  if (values.size() == 1) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    return {mean, 0, {-infinity, infinity}};
  }
  const double deviation = std::sqrt(squares / (n - 1)), half = t975(values.size() - 1) * deviation / std::sqrt(n);
  return {mean, deviation, {mean - half, mean + half}};
}

std::vector<double> softmax(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  for (const float logit : logits) p.push_back(std::exp(logit - top));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
  return p;
}

}  // namespace mpq
