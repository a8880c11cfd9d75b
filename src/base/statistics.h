// How sure a measured accuracy is, and how sure a classifier is.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace mpq {

struct Interval {
  double low, high;
};

// The 95 % score interval of a proportion (Wilson 1927); [0, 1] for total = 0.
Interval wilson_interval(int64_t correct, int64_t total);

// McNemar's test that two classifiers are right equally often on the same rows: `only_a` rows only a gets right,
// `only_b` only b. Two-sided p: the exact binomial below 25 such rows, else chi-square with continuity correction
// (Edwards 1948).
double mcnemar_p(int64_t only_a, int64_t only_b);

struct Mean {
  double mean, deviation;  // the sample's standard deviation (n - 1); 0 for n = 1
  Interval interval;       // 95 %, Student's t with n - 1 degrees of freedom; infinite for n = 1
};
Mean mean_of(std::span<const double> values);

std::vector<double> softmax(std::span<const float> logits);  // at least one

}  // namespace mpq
