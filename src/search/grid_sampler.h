// Every point of the space once, shuffled. The product is never laid out: a point is decoded from its index.
#pragma once
#include "search/sampler.h"

namespace mpq {

class GridSampler : public Sampler {
 public:
  // Up to 2^20 points: the order of Optuna's GridSampler (names sorted, last name fastest, RandomState(seed).shuffle).
  // Above, up to 2^62 points: a keyed permutation that needs no memory. UserError for more, or a continuous parameter.
  GridSampler(uint32_t seed, const SearchSpace& space);

  void restart() override {}
  void begin(const History& history) override;
  double suggest(const std::string& name, const std::shared_ptr<const Distribution>& distribution) override;

 private:
  int64_t shuffled(int64_t number) const;

  SearchSpace space_;  // sorted by name
  int64_t points_;
  uint32_t seed_;
  std::vector<uint32_t> order_;  // small spaces only
  int64_t point_ = 0;            // of this trial
};

}  // namespace mpq
