// L2-regularised logistic regression on sparse binary features. The solver is liblinear's (Fan et al., JMLR 2008).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/ngrams.h"

namespace mpq {

// Row rows[i] of `features` with its ones multiplied by `scale`, and the class sign[i].
struct LogisticProblem {
  const SparseRows& features;
  std::span<const int64_t> rows;
  std::span<const int8_t> signs;  // [rows.size()], +1 or -1, both there
  std::span<const double> scale;  // [feature_count]
  double c;                       // > 0, weight of the loss against the regulariser
};

struct LogisticSolution {
  std::vector<double> weights;  // [feature_count], of the scaled features
  double bias;
};

// argmin 1/2 |w|^2 + c sum_i log(1 + exp(-sign_i w x_i)), the bias being the weight of a constant feature 1. The same
// bits for any number of threads; may be called by many at once.
LogisticSolution solve(const LogisticProblem& problem);

}  // namespace mpq
