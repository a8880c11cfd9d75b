#include "search/tpe_sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/error.h"
#include "search/random_sampler.h"

namespace mpq {
namespace {

constexpr size_t kStartUpTrials = 10, kCandidates = 24;
constexpr double kTie = 1e-10;  // scores that mathematics ties differ by rounding only

size_t good_trials(size_t finished) {
  return std::min<size_t>(25, static_cast<size_t>(std::ceil(0.1 * static_cast<double>(finished))));
}

// Ascending: the better trial first.
using Rank = std::tuple<int, double, double>;

Rank rank_of(const FrozenTrial& trial, double sign) {
  if (const double violation = trial.violation(); violation > 0) return {2, violation, 0};
  if (trial.state == TrialState::complete) return {0, sign * trial.values.front(), 0};
  if (trial.intermediate_values.empty()) return {1, 1, 0};
  const auto [step, value] = *trial.intermediate_values.rbegin();
  return {1, -static_cast<double>(step), std::isnan(value) ? HUGE_VAL : sign * value};
}

const CategoricalDistribution& as_categorical(const std::string& name, const Distribution& distribution) {
  const auto* d = std::get_if<CategoricalDistribution>(&distribution);
  if (!d || d->choices.size() > UINT16_MAX)
    throw UserError(fmt::format("sampler tpe: parameter '{}' is not a categorical of at most 65535 choices", name),
                    "list its values as choices, or use the sampler random");
  return *d;
}

// The parameter of that name; trials of a study mostly list theirs in the same order, so look at `hint` first.
const TrialParameter* find_near(const FrozenTrial& trial, const std::string& name, size_t& hint) {
  if (hint < trial.params.size() && trial.params[hint].name == name) return &trial.params[hint];
  const TrialParameter* found = trial.find(name);
  if (found) hint = static_cast<size_t>(found - trial.params.data());
  return found;
}

// First of the best.
size_t first_best(const std::vector<double>& scores) {
  const double best = *std::max_element(scores.begin(), scores.end());
  const auto good = [&](double score) { return score >= best - kTie; };
  return static_cast<size_t>(std::find_if(scores.begin(), scores.end(), good) - scores.begin());
}

}  // namespace

TpeSplit split_trials(const History& history) {
  const double sign = history.direction == Direction::maximize ? -1 : 1;
  std::vector<std::pair<Rank, const FrozenTrial*>> finished;
  TpeSplit split;
  for (size_t i = 0; i < history.trials.size(); ++i) {
    const FrozenTrial* trial = &history.trials[i];
    if (history.is_seen(i))
      finished.emplace_back(rank_of(*trial, sign), trial);
    else if (history.state(i) == TrialState::running)
      split.above.push_back(trial);
  }
  std::stable_sort(finished.begin(), finished.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  const size_t good = good_trials(finished.size());
  for (size_t i = 0; i < finished.size(); ++i) (i < good ? split.below : split.above).push_back(finished[i].second);
  const auto by_number = [](const FrozenTrial* a, const FrozenTrial* b) { return a->number < b->number; };
  std::sort(split.below.begin(), split.below.end(), by_number);
  std::sort(split.above.begin(), split.above.end(), by_number);
  return split;
}

TpeSampler::TpeSampler(uint32_t seed, bool multivariate)
    : seed_(seed), multivariate_(multivariate), start_up_(seed), candidates_(seed) {}

void TpeSampler::restart() { *this = TpeSampler(seed_, multivariate_); }

void TpeSampler::begin(const History& history) {
  size_t finished = 0;
  for (size_t i = 0; i < history.wave_start; ++i) finished += history.is_seen(i);
  random_ = finished < kStartUpTrials;
  joint_.clear();
  if (random_) return;
  split_ = split_trials(history);
  if (multivariate_) joint_ = joint_space(history);
  if (!joint_.empty()) joint_decision_ = decide(joint_);
}

double TpeSampler::suggest(const std::string& name, const std::shared_ptr<const Distribution>& distribution) {
  as_categorical(name, *distribution);
  if (random_) return draw_uniformly(*distribution, start_up_);
  for (size_t d = 0; d < joint_.size(); ++d) {
    if (joint_[d].name != name) continue;
    decision_ = joint_decision_;
    return decision_.choices[d][decision_.winner];
  }
  decision_ = decide({{name, distribution}});
  return decision_.choices.front()[decision_.winner];
}

// The parameters that every finished trial has, with the same distribution, by name.
std::vector<TpeSampler::Dimension> TpeSampler::joint_space(const History& history) const {
  std::vector<Dimension> space;
  bool first = true;
  for (size_t i = 0; i < history.wave_start; ++i) {
    if (!history.is_seen(i)) continue;
    const FrozenTrial& trial = history.trials[i];
    if (first)
      for (const TrialParameter& p : trial.params) space.push_back({p.name, p.distribution});
    first = false;
    size_t hint = 0;
    std::erase_if(space, [&](const Dimension& d) {
      const TrialParameter* p = find_near(trial, d.name, hint);
      ++hint;
      return !p || (p->distribution != d.distribution && *p->distribution != *d.distribution);
    });
  }
  std::erase_if(space, [](const Dimension& d) { return is_single(*d.distribution); });
  std::sort(space.begin(), space.end(), [](const Dimension& a, const Dimension& b) { return a.name < b.name; });
  return space;
}

TpeDecision TpeSampler::decide(const std::vector<Dimension>& space) {
  std::vector<size_t> counts;
  for (const Dimension& d : space) counts.push_back(as_categorical(d.name, *d.distribution).choices.size());
  const ParzenEstimator good(observations(split_.below, space), counts), bad(observations(split_.above, space), counts);
  TpeDecision decision;
  decision.choices = good.sample(kCandidates, candidates_);
  decision.scores = good.log_density(decision.choices);
  const std::vector<double> log_g = bad.log_density(decision.choices);
  for (size_t i = 0; i < kCandidates; ++i) decision.scores[i] -= log_g[i];
  decision.winner = first_best(decision.scores);
  return decision;
}

// Choices [dimension][trial] of the trials that have every parameter of the space.
std::vector<std::vector<uint16_t>> TpeSampler::observations(const std::vector<const FrozenTrial*>& trials,
                                                            const std::vector<Dimension>& space) {
  std::vector<std::vector<uint16_t>> observed(space.size());
  std::vector<size_t> hints(space.size(), 0);
  std::vector<const TrialParameter*> found(space.size());
  for (const FrozenTrial* trial : trials) {
    for (size_t d = 0; d < space.size(); ++d) found[d] = find_near(*trial, space[d].name, hints[d]);
    if (std::find(found.begin(), found.end(), nullptr) != found.end()) continue;
    for (size_t d = 0; d < space.size(); ++d) observed[d].push_back(static_cast<uint16_t>(found[d]->value));
  }
  return observed;
}

}  // namespace mpq
