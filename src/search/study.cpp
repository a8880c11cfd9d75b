#include "search/study.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "search/owner.h"
#include "search/study_settings.h"

namespace mpq {
namespace {

constexpr double kHeartbeatSeconds = 15;

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string python_json(const nlohmann::json& value) { return value.dump(-1, ' ', true); }

}  // namespace

const FrozenTrial* best_trial(const std::vector<FrozenTrial>& trials, Direction direction) {
  const double sign = direction == Direction::maximize ? -1 : 1;
  const FrozenTrial* best = nullptr;
  for (const FrozenTrial& trial : trials) {
    if (trial.state != TrialState::complete || trial.violation() > 0) continue;
    if (!best || sign * trial.values.front() < sign * best->values.front()) best = &trial;
  }
  return best;
}

const FrozenTrial& Trial::record() const { return study_->at(number_); }

Choice Trial::suggest(const std::string& name, const Distribution& distribution) {
  return study_->suggest(number_, name, distribution);
}
std::string Trial::suggest_categorical(const std::string& name, const std::vector<std::string>& choices) {
  return std::get<std::string>(suggest(name, categorical(choices)));
}
int64_t Trial::suggest_int(const std::string& name, const IntDistribution& distribution) {
  return std::get<int64_t>(suggest(name, distribution));
}
double Trial::suggest_float(const std::string& name, const FloatDistribution& distribution) {
  return std::get<double>(suggest(name, distribution));
}

void Trial::report(int64_t step, double value) { study_->at(number_).intermediate_values[step] = value; }

void Trial::set_user_attr(const std::string& key, const nlohmann::json& value) {
  study_->at(number_).user_attrs[key] = python_json(value);
}

void Trial::set_constraints(const std::vector<double>& constraints) {
  FrozenTrial& trial = study_->at(number_);
  trial.constraints = constraints;
  trial.system_attrs[kConstraintsAttr] = python_json(constraints);
}

Study::Study(Storage& storage, StudyOptions options)
    : storage_(storage), options_(std::move(options)), owner_(this_process()) {
  check(options_.parallel >= 1, "a wave of {} trials", options_.parallel);
  for (const auto& [name, distribution] : options_.space) {
    validate(distribution, fmt::format("parameter '{}'", name));
    distributions_[name] = std::make_shared<const Distribution>(distribution);
  }
  make_sampler(options_.sampler, options_.space,
               options_.further);  // bad options are refused before anything is written
  open();
}

void Study::open() {
  StudyRecord wanted{.name = options_.name, .directions = {options_.direction}};
  wanted.system_attrs[kSettingsAttr] = settings_json(options_);
  if (!options_.metric.empty()) wanted.system_attrs["study:metric_names"] = python_json({options_.metric});
  storage_.create_study(wanted, options_.when_new);
  StudyRecord stored = storage_.read_study(options_.name);
  id_ = stored.id;
  const bool settled = stored.system_attrs.contains(kSettingsAttr);
  if (!settled) stored.system_attrs[kSettingsAttr] = wanted.system_attrs[kSettingsAttr];  // Optuna made it: adopt it
  check_same_study(stored, options_);
  SamplerOptions sampler = options_.sampler;
  if (searches_whole_space(stored)) sampler.name = "grid";
  sampler_ = make_sampler(sampler, options_.space, options_.further);
  most_trials_ =
      sampler.name == "grid" ? *count_points(options_.space, options_.further) : std::numeric_limits<int64_t>::max();
  refresh();
  if (!settled) storage_.set_study_attr(id_, AttributeKind::system, kSettingsAttr, stored.system_attrs[kSettingsAttr]);
}

// Finished trials never change, so reading starts at the first one that is not finished.
void Study::refresh() {
  const auto open = std::find_if(trials_.begin(), trials_.end(), [](const FrozenTrial& t) { return !t.finished(); });
  for (FrozenTrial& trial : storage_.read_trials(id_, open - trials_.begin())) {
    if (in_flight_.contains(trial.number)) continue;
    for (TrialParameter& p : trial.params) p.distribution = known_distribution(p.name, *p.distribution);
    if (trial.number < static_cast<int64_t>(trials_.size()))
      at(trial.number) = std::move(trial);
    else
      trials_.push_back(std::move(trial));
  }
}

const std::shared_ptr<const Distribution>& Study::known_distribution(const std::string& name,
                                                                     const Distribution& asked) {
  auto& known = distributions_[name];
  if (!known) known = std::make_shared<const Distribution>(asked);
  if (*known != asked) refuse_distribution(options_.name, name, *known, asked);
  return known;
}

std::vector<Trial> Study::ask(int64_t trials) {
  check(in_flight_.empty(), "{} trials of the last wave are not finished", in_flight_.size());
  refresh();
  std::vector<Trial> wave;
  claim_dead(wave);
  create_rest_of_wave(wave, std::min(trials, most_trials_));
  suggest_space(wave);
  return wave;
}

void Study::claim_dead(std::vector<Trial>& wave) {
  for (FrozenTrial& trial : trials_) {
    const auto owner = trial.system_attrs.find(kOwnerAttr);
    if (trial.state != TrialState::running || owner == trial.system_attrs.end()) continue;
    if (wave.size() == static_cast<size_t>(options_.parallel)) return;
    // Ours, but not in flight: an earlier Study of this process left it.
    if (owner->second != owner_ && !is_dead(owner->second, trial.heartbeat_age)) continue;
    if (!storage_.exchange_system_attr(trial.id, kOwnerAttr, owner->second, owner_)) continue;
    owner->second = owner_;
    in_flight_.insert(trial.number);
    wave.push_back(Trial(*this, trial.number));
  }
}

// Goes on with the wave that has begun; begins another only if there is nothing else to do.
void Study::create_rest_of_wave(std::vector<Trial>& wave, int64_t end) {
  const auto parallel = static_cast<size_t>(options_.parallel);
  while (wave.size() < parallel && (wave.empty() || trials_.size() % parallel != 0)) {
    auto trial = storage_.create_trial(id_, {{kOwnerAttr, owner_}}, end);
    if (!trial) return;
    if (trial->number == static_cast<int64_t>(trials_.size()))
      trials_.push_back(*trial);
    else
      refresh();  // other processes have created trials meanwhile
    in_flight_.insert(trial->number);
    wave.push_back(Trial(*this, trial->number));
  }
}

void Study::suggest_space(std::vector<Trial>& wave) {
  for (Trial& trial : wave) {
    const size_t stored = trial.record().params.size();
    for (const auto& [name, distribution] : options_.space) trial.suggest(name, distribution);
    if (options_.further)
      for (const auto& [name, distribution] : options_.further(trial.record())) trial.suggest(name, distribution);
    if (trial.record().params.size() != stored) save(trial);
  }
}

Choice Study::suggest(int64_t number, const std::string& name, const Distribution& distribution) {
  const auto& shared = known_distribution(name, distribution);
  if (const TrialParameter* stored = at(number).find(name)) return stored->external();
  validate(distribution, fmt::format("parameter '{}'", name));
  replay_until(number);
  const double value = draw(name, shared);
  ++replayed_;
  at(number).params.push_back({name, shared, value});
  return at(number).params.back().external();
}

// Brings the random streams into the trial, behind its last parameter.
void Study::replay_until(int64_t number) {
  if (cursor_ > number) {
    sampler_->restart();
    cursor_ = 0;
    replayed_ = 0;
    begun_ = false;
  }
  for (;; ++cursor_, replayed_ = 0, begun_ = false) {
    const std::vector<TrialParameter>& params = at(cursor_).params;
    for (; replayed_ < params.size(); ++replayed_) draw(params[replayed_].name, params[replayed_].distribution);
    if (cursor_ == number) return;
  }
}

double Study::draw(const std::string& name, const std::shared_ptr<const Distribution>& distribution) {
  if (is_single(*distribution)) return nth_value(*distribution, 0);
  if (!begun_) sampler_->begin(history(cursor_));
  begun_ = true;
  return sampler_->suggest(name, distribution);
}

History Study::history(int64_t number) const {
  return {.trials = std::span(trials_).first(static_cast<size_t>(number)),
          .wave_start = static_cast<size_t>(number - number % options_.parallel),
          .direction = options_.direction};
}

void Study::save(const Trial& trial) { storage_.save_trial(trial.record()); }

void Study::tell(const Trial& trial, double value) {
  if (std::isnan(value))
    finish(trial, TrialState::fail, {});
  else
    finish(trial, TrialState::complete, {value});
}

void Study::tell(const Trial& trial, TrialState state) {
  check(state == TrialState::pruned || state == TrialState::fail, "tell without a value: {}", to_text(state));
  std::vector<double> values;
  if (state == TrialState::pruned)
    for (const auto& [step, value] : trial.record().intermediate_values)
      if (!std::isnan(value)) values = {value};
  finish(trial, state, values);
}

void Study::finish(const Trial& trial, TrialState state, std::vector<double> values) {
  check(in_flight_.erase(trial.number()) == 1, "trial {} is not in flight", trial.number());
  FrozenTrial& record = at(trial.number());
  record.state = state;
  record.values = std::move(values);
  record.completed = utc_now();
  if (storage_.save_trial(record)) return;
  spdlog::warn("study '{}': trial {} was finished by another process; its result stands", options_.name, record.number);
  record.state = TrialState::running;  // so that refresh reads what the storage has
}

void Study::heartbeat() {
  if (in_flight_.empty() || monotonic_seconds() - last_heartbeat_s_ < kHeartbeatSeconds) return;
  last_heartbeat_s_ = monotonic_seconds();
  std::vector<int64_t> ids;
  for (const int64_t number : in_flight_) ids.push_back(at(number).id);
  storage_.heartbeat(ids);
}

bool Study::others_run() const {
  return std::any_of(trials_.begin(), trials_.end(), [&](const FrozenTrial& t) {
    return t.state == TrialState::running && t.system_attrs.contains(kOwnerAttr) && !in_flight_.contains(t.number);
  });
}

const FrozenTrial* Study::find_same_params(const Trial& trial) const {
  for (const FrozenTrial& other : trials_)
    if (other.state == TrialState::complete && other.same_params(trial.record())) return &other;
  return nullptr;
}

}  // namespace mpq
