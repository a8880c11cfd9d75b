#include "app/search_family.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "app/recipe.h"
#include "base/file.h"
#include "base/text.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

StudyOptions study_options(const FamilySpace& space, const SearchOptions& options, const Bert& model) {
  const SearchMode mode = options.mode == "per-layer" ? SearchMode::per_layer : SearchMode::all_layers;
  return {.name = options.study + "-" + space.family,
          .sampler = {.name = options.sampler, .seed = static_cast<uint32_t>(options.train.seed)},
          .parallel = static_cast<int>(options.parallel),
          .trials = options.trials,
          .space = space.space(model, mode),
          .metric = options.select + " accuracy"};
}

double number(const FrozenTrial& t, const char* key) {
  const auto at = t.user_attrs.find(key);
  return at == t.user_attrs.end() ? 0 : parse_double(at->second).value_or(0);
}

}  // namespace

FamilySearch::FamilySearch(const FamilySpace& space, const SearchOptions& options, WaveRunner& runner, Storage& storage,
                           const std::string& recipe)
    : family_(space.family),
      options_(options),
      runner_(runner),
      recipe_(recipe),
      study_(storage, study_options(space, options, runner.model())),
      models_(fs::path(options.out) / "models" / study_.options().name) {
  check_recipe(storage, study_.options().name, recipe);
  if (study_.trials().empty()) remove_atomic_folder(models_);  // of a study that was deleted
  for (const FrozenTrial& t : study_.trials())
    if (t.finished()) remove_atomic_folder(running_folder(t.number));  // killed between the result and the tidying up
}

bool FamilySearch::ask() {
  open_ = study_.ask(options_.trials);
  return !open_.empty();
}

std::vector<TrialJob> FamilySearch::jobs(const Done& done) {
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

// Over budget, or known already. The float control has no budget to keep.
bool FamilySearch::finished_without_training(Trial& trial) {
  const std::vector<LinearSpec> specs = specs_of(runner_.model(), trial.record());
  const double bits = bits_per_linear_weight(runner_.model(), specs);
  trial.set_user_attr("mpq:bits", bits);
  trial.set_user_attr("mpq:bits_per_parameter", bits_per_parameter(runner_.model(), specs));
  if (options_.max_bits && family_ != "none") {
    trial.set_constraints({bits - *options_.max_bits});
    if (bits > *options_.max_bits) return study_.tell(trial, TrialState::pruned), true;
  }
  const FrozenTrial* same = study_.find_same_params(trial);
  if (same) repeat(trial, *same);
  return same;
}

bool FamilySearch::has_open_twin(const Trial& trial) const {
  return std::any_of(open_.begin(), open_.end(),
                     [&](const Trial& other) { return other.record().same_params(trial.record()); });
}

TrialJob FamilySearch::training(const Trial& trial, const Done& done) {
  TrialJob job = this->job(trial.record());
  job.finished = [this, trial = Trial(trial), done](Session& session, int replica, const TrialResult& result) mutable {
    finish(trial, session, replica, result);
    done(trial.record());
  };
  return job;
}

void FamilySearch::finish(Trial& trial, Session& session, int replica, const TrialResult& result) {
  if (!result.diverged && would_win(trial, result.value)) runner_.write(model_folder(trial.number()), session, replica);
  trial.set_user_attr("mpq:seconds", result.seconds);
  trial.set_user_attr("mpq:replicas", result.replicas);
  trial.set_user_attr("mpq:correct", result.correct);
  trial.set_user_attr("mpq:rows", result.rows);
  if (result.diverged) trial.set_user_attr("mpq:diverged", true);
  study_.tell(trial, result.value);
  std::erase_if(open_, [&](const Trial& other) { return other.number() == trial.number(); });
  remove_atomic_folder(running_folder(trial.number()));
  drop_beaten_models();
}

// Against the finished trials: the sessions of a wave do not end in the order of the trials' numbers.
bool FamilySearch::would_win(const Trial& trial, double value) const {
  const FrozenTrial* best = study_.best_trial();
  return !best || value > best->values[0] || (value == best->values[0] && trial.number() < best->number);
}

// The trials of a study share one seed: equal formats, equal result.
void FamilySearch::repeat(Trial& trial, const FrozenTrial& same) {
  for (const char* key : {"mpq:correct", "mpq:rows", "mpq:diverged"})
    if (const auto at = same.user_attrs.find(key); at != same.user_attrs.end())
      trial.set_user_attr(key, nlohmann::json::parse(at->second));
  trial.set_user_attr("mpq:same_as", same.number);
  study_.tell(trial, same.values.at(0));
}

// Only the best trial's model stays; those of trials that another process has not finished are its own affair.
void FamilySearch::drop_beaten_models() const {
  const FrozenTrial* best = study_.best_trial();
  for (const FrozenTrial& t : study_.trials())
    if (t.finished() && best && t.number != best->number && fs::exists(model_folder(t.number)))
      remove_atomic_folder(model_folder(t.number));
}

TrialJob FamilySearch::job(const FrozenTrial& trial) const {
  return {.name = fmt::format("{} trial {}", family_, trial.number),
          .formats = specs_of(runner_.model(), trial),
          .seed = options_.train.seed,
          .running = running_folder(trial.number),
          .recipe = recipe_};
}

fs::path FamilySearch::running_folder(int64_t number) const {
  return fs::path(options_.out) / "running" / fmt::format("{}-{}", study_.options().name, number);
}

fs::path FamilySearch::model_folder(int64_t number) const { return models_ / fmt::format("trial-{}", number); }

fs::path FamilySearch::winner_model() const { return model_folder(study_.best_trial()->number); }

std::optional<TrialJob> FamilySearch::lost_model() const {
  const fs::path folder = winner_model();
  if (fs::exists(folder / "model.safetensors")) return {};
  TrialJob job = this->job(*study_.best_trial());
  job.finished = [this, folder, running = job.running](Session& session, int replica, const TrialResult&) {
    runner_.write(folder, session, replica);
    remove_atomic_folder(running);
  };
  return job;
}

FamilyResult FamilySearch::result() const {
  FamilyResult r{.family = family_, .series = {family_, {}}};
  for (const FrozenTrial& t : study_.trials()) {
    const double accuracy = t.state == TrialState::complete && !t.values.empty() ? t.values[0] : std::nan("");
    r.series.trials.push_back({accuracy, number(t, "mpq:bits")});
    r.trials += t.finished();
    r.seconds += number(t, "mpq:seconds");
  }
  const FrozenTrial* winner = study_.best_trial();
  if (!winner) return r;
  r.winner = winner->number;
  r.diverged = winner->user_attrs.contains("mpq:diverged");
  r.formats = specs_of(runner_.model(), *winner);
  r.linear_bits = bits_per_linear_weight(runner_.model(), r.formats);
  r.parameter_bits = bits_per_parameter(runner_.model(), r.formats);
  r.correct = static_cast<int64_t>(number(*winner, "mpq:correct"));
  r.rows = static_cast<int64_t>(number(*winner, "mpq:rows"));
  return r;
}

}  // namespace mpq
