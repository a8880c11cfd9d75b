#include "app/prune_run.h"

#include <fmt/format.h>

#include <map>
#include <thread>

#include "app/recipe.h"
#include "base/file.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

constexpr const char* kStudy = "prune";

std::vector<Device*> pointers(const Devices& devices) {
  std::vector<Device*> pointers;
  for (const auto& device : devices) pointers.push_back(device.get());
  return pointers;
}

TrainArgs without_training(TrainArgs train) {
  train.epochs = 0;
  return train;
}

StudyOptions study_options(const std::vector<PrunePoint>& points) {
  std::vector<std::string> names;
  for (const PrunePoint& point : points) names.push_back(point.name());
  const auto count = static_cast<int>(points.size());
  return {.name = kStudy,
          .sampler = {.name = "grid"},
          .parallel = count,
          .trials = count,
          .space = {{"point", categorical(names)}},
          .metric = "accuracy"};
}

// What decides a point's result beside its name: the seeds' own bases are all named.
std::string recipe_of(const PruneOptions& o, Setup& setup, const std::vector<PrunePoint>& points, const Bert& model) {
  std::string start, formats;
  for (int s = 0; s < (o.own_base() ? o.seeds : 1); ++s) {
    if (s > 0) setup.start_from(o.base_of(o.train.seed + static_cast<uint64_t>(s)));
    start += (s > 0 ? " " : "") + start_recipe(setup, o.train);
  }
  for (const LinearSpec& spec : o.formats.resolve(model, setup.init->formats)) formats += " " + to_text(spec);
  return fmt::format("data {} {} {} {} formats{}{}", setup.data.fingerprint, start, o.train.recipe(),
                     to_text(pruning_of(points.back(), o, model), model), formats, o.machine.precision_in_recipe());
}

}  // namespace

PruneRun::PruneRun(const PruneOptions& options, Setup& setup, const Devices& devices, Storage& storage)
    : options_(options),
      setup_(setup),
      devices_(pointers(devices)),
      points_(prune_points(options)),
      single_(is_single(points_)),
      recipe_(recipe_of(options, setup, points_, Bert(setup.config))),
      model_(std::make_shared<const Bert>(setup.config)),
      untrained_(without_training(options.train)),
      prune_(devices_, setup, untrained_, options.replicas),
      tune_(devices_, setup, options.train, options.replicas),
      study_(storage, study_options(points_)) {
  check_recipe(storage, kStudy, recipe_);
  for (const FrozenTrial& trial : study_.trials()) {
    if (!trial.finished()) continue;
    ++finished_;
    remove_atomic_folder(running_folder(trial.number));  // killed between the result and the tidying up
  }
}

const Split& PruneRun::split() const { return on_test() ? setup_.data.test : setup_.data.valid; }

void PruneRun::print_plan(const Devices& devices) const {
  fmt::print(stderr, "{}\n{}\n", setup_.data.description, describe(setup_.config));
  for (const auto& device : devices) fmt::print(stderr, "{}\n", device->describe());
  fmt::print(stderr, "{} points, {} finished already; fine-tuning is {} steps of {} rows\n", points_.size(), finished_,
             plan_of(options_.train).steps(setup_.data.train.row_count()), options_.train.batch);
}

void PruneRun::run() {
  for (;;) {
    std::map<uint64_t, Trials> by_seed;
    for (const Trial& trial : study_.ask(static_cast<int64_t>(points_.size()))) {
      const PrunePoint& point = point_of(trial.record());
      by_seed[point.seed].emplace_back(trial, &point);
    }
    for (const auto& [seed, trials] : by_seed) run_seed(seed, trials);
    if (!by_seed.empty()) continue;
    if (!study_.others_run()) return;
    if (stop_requested()) throw Stopped("mpq prune; another process has points in flight");
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

const PrunePoint& PruneRun::point_of(const FrozenTrial& trial) const {
  const std::string name = to_text(trial.find("point")->external());
  for (const PrunePoint& point : points_)
    if (point.name() == name) return point;
  check(false, "the study has a point {}", name);
  __builtin_unreachable();
}

// One order of the rows a seed, so that its points can share sessions.
void PruneRun::run_seed(uint64_t seed, const Trials& trials) {
  setup_.start_from(options_.base_of(seed));
  for (const bool tuned : {false, true}) {
    std::vector<TrialJob> jobs;
    for (const auto& [trial, point] : trials)
      if (point->tuned == tuned) jobs.push_back(job(trial, *point));
    const WaveRunner& runner = tuned ? tune_ : prune_;
    runner.run(runner.sessions(std::move(jobs)), split(), [this] { study_.heartbeat(); });
  }
}

TrialJob PruneRun::job(const Trial& trial, const PrunePoint& point) {
  return {.name = point.name(),
          .model = model_,
          .formats = options_.formats.resolve(*model_, setup_.init->formats),
          .pruning = pruning_of(point, options_, *model_),
          .seed = point.seed,
          .running = point.tuned ? running_folder(trial.number()) : fs::path(),
          .recipe = recipe_,
          .finished = [this, of_this = trial, &point](Session& session, int r, const TrialResult& result) mutable {
            finish(of_this, point, session, r, result);
          }};
}

void PruneRun::finish(Trial& trial, const PrunePoint& point, Session& session, int replica, const TrialResult& result) {
  if (single_ && !point.is_control() && point.tuned == options_.tunes()) tune_.write(options_.out, session, replica);
  if (result.diverged) trial.set_user_attr("mpq:diverged", true);
  trial.set_user_attr("mpq:seconds", result.seconds);
  trial.set_user_attr("mpq:replicas", result.replicas);
  study_.tell(trial, result.value);
  remove_atomic_folder(running_folder(trial.number()));
  fmt::print(stderr, "[{}/{}] {}: {:.4f}{}\n", ++finished_, points_.size(), point.name(), result.value,
             result.diverged ? ", diverged" : "");
}

fs::path PruneRun::running_folder(int64_t number) const {
  return single_ ? fs::path(fmt::format("{}.running{}", options_.out, number))
                 : fs::path(options_.out) / "running" / std::to_string(number);
}

std::vector<PruneResult> PruneRun::results() const {
  std::vector<PruneResult> results;
  for (const PrunePoint& point : points_)
    for (const FrozenTrial& trial : study_.trials()) {
      if (trial.state != TrialState::complete || &point_of(trial) != &point) continue;
      results.push_back({.point = point,
                         .accuracy = trial.values.at(0),
                         .seconds = nlohmann::json::parse(trial.user_attrs.at("mpq:seconds")).get<double>(),
                         .diverged = trial.user_attrs.contains("mpq:diverged")});
    }
  return results;
}

}  // namespace mpq
