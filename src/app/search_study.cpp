#include "app/search_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "app/architecture_space.h"
#include "app/recipe.h"
#include "base/file.h"
#include "base/text.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

std::string name_of(const PlannedStudy& plan, const SearchOptions& options) { return options.study + "-" + plan.name; }

fs::path models_folder(const PlannedStudy& plan, const SearchOptions& options) {
  return fs::path(options.out) / "models" / name_of(plan, options);
}

StudyOptions study_options(const PlannedStudy& plan, const SearchOptions& options) {
  return {.name = name_of(plan, options),
          .sampler = {.name = plan.sampler, .seed = static_cast<uint32_t>(options.train.seed)},
          .parallel = static_cast<int>(options.parallel),
          .trials = options.trials,
          .space = plan.space->parameters(),
          .further = plan.space->further(),
          .metric = options.select + " accuracy",
          .when_new = [models = models_folder(plan, options)] { remove_atomic_folder(models); }};  // a deleted study's
}

double number(const FrozenTrial& t, const char* key) {
  const auto at = t.user_attrs.find(key);
  return at == t.user_attrs.end() ? 0 : parse_double(at->second).value_or(0);
}

// Where a trial that is compressed in the midst keeps what it was in float.
fs::path float_folder(const fs::path& running) { return running.string() + "-float"; }
constexpr const char* kSeconds = "seconds.txt";  // how long that took

std::string confirmation_key(int64_t number, uint64_t seed) { return fmt::format("mpq:confirmed:{}:{}", number, seed); }

}  // namespace

SearchStudy::SearchStudy(const PlannedStudy& plan, const SearchOptions& options, WaveRunner& runner, Storage& storage,
                         const std::string& recipe)
    : plan_(plan),
      options_(options),
      runner_(runner),
      storage_(storage),
      recipe_(recipe + plan.space->recipe()),
      study_(storage, study_options(plan, options)),
      models_(models_folder(plan, options)) {
  check_recipe(storage, study_.options().name, recipe_);
  for (const FrozenTrial& t : study_.trials())
    if (t.finished()) drop_running(t.number, options_.train.seed);  // killed between the result and the tidying up
}

TrialJob SearchStudy::largest() const {
  const Candidate candidate = plan_.space->largest();
  return {.name = name(),
          .model = candidate.model,
          .formats = candidate.formats,
          .pruning = candidate.pruning,
          .seed = options_.train.seed,
          .running = {},
          .recipe = {},
          .finished = {}};
}

bool SearchStudy::ask() {
  open_ = study_.ask(options_.trials);
  return !open_.empty();
}

std::vector<TrialJob> SearchStudy::jobs(const Done& done) {
  std::vector<TrialJob> jobs;
  for (Trial& trial : std::exchange(open_, {})) {
    if (finished_without_training(trial)) {
      done(trial.record());
      continue;
    }
    if (!has_open_twin(trial)) jobs.push_back(training(trial, done));
    open_.push_back(trial);
  }
  return jobs;
}

// Over budget, or known already.
bool SearchStudy::finished_without_training(Trial& trial) {
  if (!keeps_budget(trial)) return study_.tell(trial, TrialState::pruned), true;
  const FrozenTrial* same = study_.find_same_params(trial);
  if (same) repeat(trial, *same);
  return same;
}

// Notes what the candidate measures.
bool SearchStudy::keeps_budget(Trial& trial) {
  const Candidate candidate = plan_.space->candidate(trial.record());
  const ModelSize size = size_of(candidate, options_.data.options().max_tokens);
  trial.set_user_attr("mpq:bits", size.bits_per_weight);
  trial.set_user_attr("mpq:bits_per_parameter", size.bits_per_parameter);
  trial.set_user_attr("mpq:parameters", size.parameters);
  trial.set_user_attr("mpq:multiply_adds", size.multiply_adds);
  trial.set_user_attr("mpq:architecture", describe_architecture(candidate.model->config()));
  std::vector<double> constraints;
  const double bits = options_.budget == "model" ? size.bits_per_parameter : size.bits_per_weight;
  if (options_.max_bits) constraints.push_back(bits - *options_.max_bits);
  if (options_.max_parameters) constraints.push_back(static_cast<double>(size.parameters - *options_.max_parameters));
  if (is_control() || constraints.empty()) return true;
  trial.set_constraints(constraints);
  return *std::max_element(constraints.begin(), constraints.end()) <= 0;
}

bool SearchStudy::has_open_twin(const Trial& trial) const {
  return std::any_of(open_.begin(), open_.end(),
                     [&](const Trial& other) { return other.record().same_params(trial.record()); });
}

TrialJob SearchStudy::training(const Trial& trial, const Done& done) {
  const auto finished = [this, trial = Trial(trial), done](Session& session, int replica,
                                                           const TrialResult& result) mutable {
    finish(trial, session, replica, result);
    done(trial.record());
  };
  return job(trial.record(), options_.train.seed, finished);
}

void SearchStudy::finish(Trial& trial, Session& session, int replica, const TrialResult& result) {
  if (!result.diverged && would_win(trial, result.value)) runner_.write(model_folder(trial.number()), session, replica);
  trial.set_user_attr("mpq:seconds", result.seconds);
  trial.set_user_attr("mpq:replicas", result.replicas);
  trial.set_user_attr("mpq:correct", result.correct);
  trial.set_user_attr("mpq:rows", result.rows);
  if (result.diverged) trial.set_user_attr("mpq:diverged", true);
  if (result.also.rows > 0) trial.set_user_attr("mpq:test", result.also.accuracy().value());
  study_.tell(trial, result.value);
  std::erase_if(open_, [&](const Trial& other) { return other.number() == trial.number(); });
  drop_running(trial.number(), options_.train.seed);
  drop_beaten_models();
}

// Against the finished trials: the sessions of a wave do not end in the order of the trials' numbers.
bool SearchStudy::would_win(const Trial& trial, double value) const {
  const FrozenTrial* best = study_.best_trial();
  return !best || value > best->values[0] || (value == best->values[0] && trial.number() < best->number);
}

// The trials of a study share one seed: equal parameters, equal result.
void SearchStudy::repeat(Trial& trial, const FrozenTrial& same) {
  for (const char* key : {"mpq:correct", "mpq:rows", "mpq:diverged", "mpq:test"})
    if (const auto at = same.user_attrs.find(key); at != same.user_attrs.end())
      trial.set_user_attr(key, nlohmann::json::parse(at->second));
  trial.set_user_attr("mpq:same_as", same.number);
  study_.tell(trial, same.values.at(0));
}

// Only the best trial's model stays; those of trials that another process has not finished are its own affair.
void SearchStudy::drop_beaten_models() const {
  const FrozenTrial* best = study_.best_trial();
  for (const FrozenTrial& t : study_.trials())
    if (t.finished() && best && t.number != best->number && fs::exists(model_folder(t.number)))
      remove_atomic_folder(model_folder(t.number));
}

TrialJob SearchStudy::job(const FrozenTrial& trial, uint64_t seed, const Finished& finished) const {
  const Candidate candidate = plan_.space->candidate(trial);
  const fs::path running = running_folder(trial.number, seed), in_float = float_folder(running);
  TrialJob job{.name = fmt::format("{} trial {}", name(), trial.number),
               .model = candidate.model,
               .formats = candidate.formats,
               .pruning = candidate.pruning,
               .seed = seed,
               .running = running,
               .recipe = recipe_,
               .finished = finished};
  if (!candidate.epochs_after) return job;
  if (fs::exists(in_float)) {
    job.name += ", compressed";
    job.epochs = candidate.epochs_after;
    job.start = in_float;
    job.finished = [in_float, finished](Session& session, int replica, TrialResult result) {
      if (fs::exists(in_float / kSeconds))
        result.seconds += parse_double(trim(read_file(in_float / kSeconds))).value_or(0);
      finished(session, replica, result);
    };
    return job;
  }
  job.formats.assign(job.formats.size(), {});
  job.pruning = {};
  job.finished = [this, in_float, running, finished](Session& session, int replica, const TrialResult& result) {
    if (result.diverged) return finished(session, replica, result);
    runner_.write(in_float, session, replica);
    write_file_atomic(in_float / kSeconds, fmt::format("{}\n", result.seconds));
    remove_atomic_folder(running);
  };
  return job;
}

fs::path SearchStudy::running_folder(int64_t number, uint64_t seed) const {
  const std::string other_seed = seed == options_.train.seed ? "" : fmt::format("-seed-{}", seed);
  return fs::path(options_.out) / "running" / fmt::format("{}-{}{}", study_.options().name, number, other_seed);
}

void SearchStudy::drop_running(int64_t number, uint64_t seed) const {
  remove_atomic_folder(running_folder(number, seed));
  remove_atomic_folder(float_folder(running_folder(number, seed)));
}

fs::path SearchStudy::model_folder(int64_t number) const { return models_ / fmt::format("trial-{}", number); }

fs::path SearchStudy::winner_model() const { return model_folder(study_.best_trial()->number); }

std::optional<TrialJob> SearchStudy::lost_model() const {
  const fs::path folder = winner_model();
  if (fs::exists(folder / "model.safetensors")) return {};
  const FrozenTrial& winner = *study_.best_trial();
  return job(winner, options_.train.seed, [this, folder, &winner](Session& session, int replica, const TrialResult&) {
    runner_.write(folder, session, replica);
    drop_running(winner.number, options_.train.seed);
  });
}

std::optional<double> SearchStudy::confirmed(int64_t number, uint64_t seed) const {
  const StudyRecord record = storage_.read_study(study_.options().name);
  const auto at = record.user_attrs.find(confirmation_key(number, seed));
  return at == record.user_attrs.end() ? std::nullopt : parse_double(at->second);
}

std::optional<TrialJob> SearchStudy::confirmation(int64_t number, uint64_t seed) {
  if (confirmed(number, seed)) return {};
  const FrozenTrial& trial = study_.trials()[static_cast<size_t>(number)];
  TrialJob next = job(trial, seed, [this, number, seed](Session&, int, const TrialResult& result) {
    const int64_t id = storage_.read_study(study_.options().name).id;
    storage_.set_study_attr(id, AttributeKind::user, confirmation_key(number, seed),
                            nlohmann::json(result.value).dump());
    drop_running(number, seed);
  });
  next.name = fmt::format("confirming {} with seed {}", name(), seed);
  return next;
}

// The first of the best, as for winners.
const FrozenTrial* SearchStudy::best_on_test() const {
  const FrozenTrial* best = nullptr;
  for (const FrozenTrial& t : study_.trials())
    if (t.state == TrialState::complete && t.user_attrs.contains("mpq:test") &&
        (!best || number(t, "mpq:test") > number(*best, "mpq:test")))
      best = &t;
  return best;
}

StudyResult SearchStudy::result() const {
  StudyResult r{.study = name(), .is_control = is_control(), .trials = {}};
  for (const FrozenTrial& t : study_.trials()) {
    const double accuracy = t.state == TrialState::complete && !t.values.empty() ? t.values[0] : std::nan("");
    const auto architecture = t.user_attrs.find("mpq:architecture");
    r.trials.push_back(
        {.accuracy = accuracy,
         .size = {number(t, "mpq:bits"), number(t, "mpq:bits_per_parameter"),
                  static_cast<int64_t>(number(t, "mpq:parameters")),
                  static_cast<int64_t>(number(t, "mpq:multiply_adds"))},
         .architecture =
             architecture == t.user_attrs.end() ? "" : nlohmann::json::parse(architecture->second).get<std::string>(),
         .test = t.user_attrs.contains("mpq:test") ? std::optional(number(t, "mpq:test")) : std::nullopt});
    r.finished += t.finished();
    r.seconds += number(t, "mpq:seconds");
  }
  const FrozenTrial *winner = study_.best_trial(), *on_test = best_on_test();
  if (!winner) return r;
  r.winner = winner->number;
  if (on_test) r.best_on_test = on_test->number;
  r.diverged = winner->user_attrs.contains("mpq:diverged");
  r.candidate = plan_.space->candidate(*winner);
  r.correct = static_cast<int64_t>(number(*winner, "mpq:correct"));
  r.rows = static_cast<int64_t>(number(*winner, "mpq:rows"));
  return r;
}

}  // namespace mpq
