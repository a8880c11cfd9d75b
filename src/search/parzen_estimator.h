// Optuna's Parzen estimator over categorical dimensions: a mixture of one product kernel an observation and one prior.
#pragma once
#include <cstdint>
#include <vector>

#include "search/random_stream.h"

namespace mpq {

class ParzenEstimator {
 public:
  // observations[d][k]: choice of observation k in dimension d, oldest first. counts[d]: choices of dimension d.
  // Older observations weigh less once there are 25 (default_weights of Optuna); the prior weighs 1.
  ParzenEstimator(std::vector<std::vector<uint16_t>> observations, const std::vector<size_t>& counts);

  // n points [d][n]: n uniforms choose the kernels, then n a dimension choose the categories.
  std::vector<std::vector<uint16_t>> sample(size_t n, RandomStream& stream) const;

  // Natural logarithms of the density of points [d][n].
  std::vector<double> log_density(const std::vector<std::vector<uint16_t>>& points) const;

 private:
  // Kernels of dimension d give their observation's choice `hit`, every other choice `miss`; the prior 1 / count.
  struct Dimension {
    size_t count;
    double hit, miss;
  };
  size_t observations() const { return weights_.size() - 1; }
  uint16_t draw(size_t dimension, size_t kernel, double u) const;
  std::vector<double> log_density_of_choices() const;
  std::vector<double> log_weights_of_misses() const;  // of every kernel, as if the point missed it everywhere
  double log_density(std::vector<double> terms, const std::vector<std::vector<uint16_t>>& points, size_t point) const;

  std::vector<std::vector<uint16_t>> observed_;  // [d][k]
  std::vector<Dimension> dimensions_;
  std::vector<double> weights_;  // one a kernel, the prior last; their sum is 1
};

}  // namespace mpq
