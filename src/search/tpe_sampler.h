// Tree-structured Parzen estimator (Bergstra et al., NIPS 2011), as Optuna's TPESampler with its default settings, on
// categorical parameters: the same draws, split, weights and kernels, hence the same choices. Exactly tied scores,
// which Optuna breaks by the last bits of its machine, go to the first candidate.
#pragma once
#include "search/parzen_estimator.h"
#include "search/random_stream.h"
#include "search/sampler.h"

namespace mpq {

// The good and the bad trials of a history, both by number. Good are the best min(ceil(n / 10), 25) of the n finished
// ones: feasible COMPLETE by value, then feasible PRUNED by how far they came, then infeasible by violation. Running
// trials count as bad (constant liar).
struct TpeSplit {
  std::vector<const FrozenTrial*> below, above;
};
TpeSplit split_trials(const History& history);

// The candidates of one decision. Index k is a candidate; choices[d][k] its choice in dimension d.
struct TpeDecision {
  std::vector<std::vector<uint16_t>> choices;
  std::vector<double> scores;  // log l(x) - log g(x)
  size_t winner;
};

class TpeSampler : public Sampler {
 public:
  TpeSampler(uint32_t seed, bool multivariate);
  void restart() override;
  void begin(const History& history) override;
  double suggest(const std::string& name, const std::shared_ptr<const Distribution>& distribution) override;

  // The last decision taken by the estimator, for tests that ask why.
  const TpeDecision& last_decision() const { return decision_; }

 private:
  struct Dimension {
    std::string name;
    std::shared_ptr<const Distribution> distribution;
  };
  std::vector<Dimension> joint_space(const History& history) const;
  TpeDecision decide(const std::vector<Dimension>& space);
  static std::vector<std::vector<uint16_t>> observations(const std::vector<const FrozenTrial*>& trials,
                                                         const std::vector<Dimension>& space);

  uint32_t seed_;
  bool multivariate_;
  RandomStream start_up_, candidates_;  // both from the same seed
  bool random_ = true;                  // this trial is one of the start-up
  TpeSplit split_;
  std::vector<Dimension> joint_;  // multivariate: decided at begin
  TpeDecision joint_decision_, decision_;
};

}  // namespace mpq
