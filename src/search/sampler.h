// A sampler proposes the parameters of a trial. It sees a study only through History, and it never sees a model.
// Another sampler is one file and one line in sampler.cpp.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "search/frozen_trial.h"

namespace mpq {

using SearchSpace = std::vector<std::pair<std::string, Distribution>>;
// The parameters that a trial has beside those of the space, decided by these. Empty: there are none.
using FurtherParameters = std::function<SearchSpace(const FrozenTrial& trial)>;

// Points of the space; saturates at 2^63 - 1; nothing if a parameter is continuous. With further parameters every point
// counts as often as it can go on; that is looked at for spaces of up to 2^20 points, larger ones saturate.
std::optional<int64_t> count_points(const SearchSpace& space, const FurtherParameters& further = {});

// The i-th point as a trial's parameters; the last one of the space is the fastest.
FrozenTrial nth_point(const SearchSpace& space, int64_t i);

// What trial number trials.size() may know. Trials of earlier waves are as they are; the earlier members of its own
// wave count as running whatever has become of them, so that an interrupted wave resumes to the same choices.
struct History {
  std::span<const FrozenTrial> trials;  // by number
  size_t wave_start;                    // the first trial of the wave
  Direction direction;

  TrialState state(size_t number) const { return number < wave_start ? trials[number].state : TrialState::running; }
  // COMPLETE or PRUNED: what Optuna's samplers learn from.
  bool is_seen(size_t number) const {
    return state(number) == TrialState::complete || state(number) == TrialState::pruned;
  }
};

// Random streams are sequential and advance by whole trials: restart(), then begin() and suggest() for trial 0, 1, ...
// The number of draws depends on the history and the parameters only, never on what comes out; so a resumed study calls
// the sampler again for the stored trials, ignores the answers, and arrives at the position of an uninterrupted one.
class Sampler {
 public:
  virtual ~Sampler() = default;
  virtual void restart() = 0;                      // back to the start of the random streams
  virtual void begin(const History& history) = 0;  // a trial, before its first suggest
  // The internal value of the trial's next parameter (never a single-valued one: those draw nothing).
  virtual double suggest(const std::string& name, const std::shared_ptr<const Distribution>& distribution) = 0;
};

struct SamplerOptions {
  std::string name = "tpe";  // of sampler_names()
  uint32_t seed = 0;
  bool multivariate = true;  // tpe: all parameters jointly, as Optuna 5 does unless told otherwise
};

std::vector<std::string> sampler_names();

// UserError for an unknown name, or a space that the sampler cannot search (grid: a continuous parameter).
std::unique_ptr<Sampler> make_sampler(const SamplerOptions& options, const SearchSpace& space,
                                      const FurtherParameters& further = {});

}  // namespace mpq
