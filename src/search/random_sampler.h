// Every parameter uniformly at random, by Optuna's draws.
#pragma once
#include "search/random_stream.h"
#include "search/sampler.h"

namespace mpq {

class RandomSampler : public Sampler {
 public:
  explicit RandomSampler(uint32_t seed) : seed_(seed), stream_(seed) {}
  void restart() override { stream_ = RandomStream(seed_); }
  void begin(const History&) override {}
  double suggest(const std::string& name, const std::shared_ptr<const Distribution>& distribution) override;

 private:
  uint32_t seed_;
  RandomStream stream_;
};

// One value as Optuna 5's RandomSampler draws it: of C choices the argmax of C uniforms; of a range one uniform, over
// [low - step/2, high + step/2] if it has steps, over the logarithms if it is log.
double draw_uniformly(const Distribution& distribution, RandomStream& stream);

}  // namespace mpq
