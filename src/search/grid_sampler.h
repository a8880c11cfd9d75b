// Every point of the space once, shuffled. The product is never laid out: a point is decoded from its index.
#pragma once
#include "search/sampler.h"

namespace mpq {

class GridSampler : public Sampler {
 public:
  // Up to 2^20 points: the order of Optuna's GridSampler (names sorted, last name fastest, RandomState(seed).shuffle).
  // Above, up to 2^62 points: a keyed permutation that needs no memory. UserError for more, or a continuous parameter.
  // Further parameters: every point of the space, of which there may be 2^20, goes on in all ways.
  GridSampler(uint32_t seed, const SearchSpace& space, const FurtherParameters& further = {});

  void restart() override {}
  void begin(const History& history) override;
  double suggest(const std::string& name, const std::shared_ptr<const Distribution>& distribution) override;

 private:
  int64_t shuffled(int64_t number) const;

  SearchSpace space_;  // sorted by name
  FurtherParameters further_;
  std::vector<int64_t>
      first_;  // with further parameters: the first point of the whole that goes on from each of the space
  int64_t points_;
  uint32_t seed_;
  std::vector<uint32_t> order_;  // small spaces only
  FrozenTrial point_;            // of this trial
};

}  // namespace mpq
