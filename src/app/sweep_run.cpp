#include "app/sweep_run.h"

#include <fmt/format.h>

#include <map>
#include <thread>

#include "app/recipe.h"
#include "app/search_space.h"
#include "base/file.h"
#include "base/stop.h"
#include "base/text.h"
#include "nn/model_formats.h"

namespace mpq {
namespace {

constexpr const char* kStudy = "sweep";

std::vector<Device*> pointers(const Devices& devices) {
  std::vector<Device*> pointers;
  for (const auto& device : devices) pointers.push_back(device.get());
  return pointers;
}

TrainArgs without_training(TrainArgs train) {
  train.epochs = 0;
  return train;
}

StudyOptions study_options(const std::vector<SweepPoint>& points, bool valid) {
  std::vector<std::string> names;
  for (const SweepPoint& point : points) names.push_back(point.name());
  const auto count = static_cast<int>(points.size());
  return {.name = kStudy,
          .sampler = {.name = "grid"},
          .parallel = count,
          .trials = count,
          .space = {{"point", categorical(names)}},
          .metric = valid ? "valid accuracy" : "test accuracy"};
}

// What decides a point's result beside its name: the seeds' own bases are all named.
std::string recipe_of(const SweepOptions& o, Setup& setup) {
  std::string start;
  for (int s = 0; s < (o.own_base() ? o.seeds : 1); ++s) {
    if (s > 0) setup.start_from(o.base_of(o.train.seed + static_cast<uint64_t>(s)));
    start += (s > 0 ? " " : "") + start_recipe(setup, o.train);
  }
  return fmt::format("data {} {} {} layers {}{}{}", setup.data.fingerprint, start, o.train.recipe(),
                     o.layers.empty() ? "as the format" : join(o.layers, ";"), o.calibration.in_recipe(),
                     o.machine.precision_in_recipe());
}

nlohmann::json attribute(const FrozenTrial& trial, const char* key) {
  const auto at = trial.user_attrs.find(key);
  return at == trial.user_attrs.end() ? nlohmann::json() : nlohmann::json::parse(at->second);
}

std::optional<double> accuracy(const FrozenTrial& trial, const char* key) {
  const nlohmann::json value = attribute(trial, key);
  return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
}

}  // namespace

Sweep::Sweep(const SweepOptions& options, Setup& setup, const Devices& devices, Storage& storage)
    : options_(options),
      setup_(setup),
      devices_(pointers(devices)),
      points_(sweep_points(options)),
      recipe_(recipe_of(options, setup)),
      model_(std::make_shared<const Bert>(setup.config)),
      untrained_(without_training(options.train)),
      evaluate_(devices_, setup, untrained_, options.replicas),
      train_(devices_, setup, options.train, options.replicas),
      study_(storage, study_options(points_, setup.data.valid.row_count() > 0)) {
  check_recipe(storage, kStudy, recipe_);
  for (const FrozenTrial& trial : study_.trials()) {
    if (!trial.finished()) continue;
    ++finished_;
    remove_atomic_folder(running_folder(trial.number));  // killed between the result and the tidying up
  }
}

void Sweep::print_plan(const Devices& devices) const {
  fmt::print(stderr, "{}\n{}\n", setup_.data.description, describe(setup_.config));
  for (const auto& device : devices) fmt::print(stderr, "{}\n", device->describe());
  fmt::print(stderr, "{} points in {}, {} finished already; a trained one is {} steps of {} rows\n", points_.size(),
             options_.storage, finished_, plan_of(options_.train).steps(setup_.data.train.row_count()),
             options_.train.batch);
}

void Sweep::run() {
  for (;;) {
    std::map<uint64_t, Trials> by_seed;
    for (const Trial& trial : study_.ask(static_cast<int64_t>(points_.size()))) {
      const SweepPoint& point = point_of(trial.record());
      by_seed[point.seed].emplace_back(trial, &point);
    }
    for (const auto& [seed, trials] : by_seed) run_seed(seed, trials);
    if (!by_seed.empty()) continue;
    if (!study_.others_run()) return;
    if (stop_requested()) throw Stopped("the sweep; another process has points in flight");
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

const SweepPoint& Sweep::point_of(const FrozenTrial& trial) const {
  const std::string name = to_text(trial.find("point")->external());
  for (const SweepPoint& point : points_)
    if (point.name() == name) return point;
  check(false, "the study has a point {}", name);
  __builtin_unreachable();
}

// One data order a seed, so that its points can share sessions.
void Sweep::run_seed(uint64_t seed, const Trials& trials) {
  setup_.start_from(options_.base_of(seed));
  const std::vector<ClosedFormats> formats = close(trials);
  const auto alive = [this] { study_.heartbeat(); };
  for (const bool trained : {false, true}) {
    std::vector<TrialJob> jobs;
    for (size_t i = 0; i < trials.size(); ++i)
      if (trials[i].second->trained == trained) jobs.push_back(job(trials[i].first, *trials[i].second, formats[i]));
    const WaveRunner& runner = trained ? train_ : evaluate_;
    runner.run(runner.sessions(std::move(jobs)), splits(), alive);
  }
}

std::vector<ClosedFormats> Sweep::close(const Trials& trials) const {
  std::vector<OpenFormats> open;
  for (const auto& [trial, point] : trials) open.push_back(formats_of(*point, options_, *model_));
  return options_.calibration.close(open, *devices_[0], *model_, setup_.data_options.max_tokens, setup_.data.train,
                                    trials[0].second->seed,
                                    [this](Session& session) { start_weights(session, setup_); });
}

TrialJob Sweep::job(const Trial& trial, const SweepPoint& point, const ClosedFormats& formats) {
  Trial of_this = trial;
  std::vector<std::string> texts;
  for (size_t row = 0; row < formats.size(); ++row)
    texts.push_back(row_format_text(*model_, static_cast<int>(row), formats[row]));
  of_this.set_user_attr("mpq:formats", texts);
  of_this.set_user_attr("mpq:bits", bits_per_linear_weight(*model_, formats));
  return {.name = point.name(),
          .model = model_,
          .formats = formats,
          .seed = point.seed,
          .running = point.trained ? running_folder(trial.number()) : std::filesystem::path(),
          .recipe = recipe_,
          .finished = [this, of_this, &point](Session&, int, const TrialResult& result) mutable {
            finish(of_this, point, result);
          }};
}

TrialSplits Sweep::splits() const {
  const Split &valid = setup_.data.valid, &test = setup_.data.test;
  if (valid.row_count() == 0) return test;
  return {valid, test.row_count() > 0 ? &test : nullptr};
}

void Sweep::finish(Trial& trial, const SweepPoint& point, const TrialResult& result) {
  const bool valid = setup_.data.valid.row_count() > 0;
  const std::optional<double> also =
      result.also.rows > 0 ? std::optional(result.also.accuracy().value()) : std::nullopt;
  const std::optional<double> test = valid ? also : std::optional(result.value);
  if (valid) trial.set_user_attr("mpq:valid", result.value);
  if (test) trial.set_user_attr("mpq:test", *test);
  if (result.diverged) trial.set_user_attr("mpq:diverged", true);
  trial.set_user_attr("mpq:seconds", result.seconds);
  trial.set_user_attr("mpq:replicas", result.replicas);
  study_.tell(trial, result.value);
  remove_atomic_folder(running_folder(trial.number()));
  fmt::print(stderr, "[{}/{}] {}: {:.4f}{}{}\n", ++finished_, points_.size(), point.name(), test.value_or(result.value),
             test ? " on test" : "", result.diverged ? ", diverged" : "");
}

std::filesystem::path Sweep::running_folder(int64_t number) const {
  return std::filesystem::path(options_.out) / "running" / std::to_string(number);
}

std::vector<SweepResult> Sweep::results() const {
  std::map<std::string, const FrozenTrial*> by_name;
  for (const FrozenTrial& trial : study_.trials())
    if (trial.state == TrialState::complete) by_name[to_text(trial.find("point")->external())] = &trial;
  std::vector<SweepResult> results;
  for (const SweepPoint& point : points_) {
    const auto found = by_name.find(point.name());
    if (found == by_name.end()) continue;
    const FrozenTrial& trial = *found->second;
    results.push_back({.point = point,
                       .valid = accuracy(trial, "mpq:valid"),
                       .test = accuracy(trial, "mpq:test"),
                       .bits = attribute(trial, "mpq:bits").get<double>(),
                       .seconds = attribute(trial, "mpq:seconds").get<double>(),
                       .diverged = attribute(trial, "mpq:diverged").is_boolean(),
                       .formats = attribute(trial, "mpq:formats").get<std::vector<std::string>>()});
  }
  return results;
}

}  // namespace mpq
