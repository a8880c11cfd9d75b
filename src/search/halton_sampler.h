// Points that fill the space evenly: a scrambled Halton sequence, a dimension a parameter (Owen 2017, "A randomized
// Halton algorithm in R"). Of n points nearly n / C take each of C choices, and pairs of parameters are as even; random
// points leave gaps that many trials later are not closed. Optuna's QMCSampler draws categoricals at random; this one
// does not.
#pragma once
#include "search/sampler.h"

namespace mpq {

class HaltonSampler : public Sampler {
 public:
  explicit HaltonSampler(uint32_t seed) : seed_(seed) {}
  void restart() override {}
  void begin(const History& history) override { trial_ = history.trials.size(), dimension_ = 0; }
  double suggest(const std::string& name, const std::shared_ptr<const Distribution>& distribution) override;

 private:
  uint32_t seed_;
  uint64_t trial_ = 0;
  uint32_t dimension_ = 0;  // of the next parameter, in the order in which the trial suggests them
};

// Coordinate `dimension` (from 0) of point `index`, in [0, 1): its digits to the dimension-th prime base, mirrored at
// the point; each place has a permutation of the digits of its own, by the seed. Any b^k consecutive points from a
// multiple of b^k on lie one in each b^k-th of the interval.
double halton(uint64_t index, uint32_t dimension, uint32_t seed);

}  // namespace mpq
