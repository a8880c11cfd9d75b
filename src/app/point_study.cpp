#include "app/point_study.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "app/recipe.h"
#include "base/file.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

TrainArgs without_training(TrainArgs train) {
  train.epochs = 0;
  return train;
}

StudyOptions study_options(const PointPlan& plan) {
  std::vector<std::string> names;
  for (const StudyPoint& point : plan.points) names.push_back(point.name);
  const auto count = static_cast<int>(names.size());
  return {.name = plan.study,
          .sampler = {.name = "grid"},
          .parallel = count,
          .trials = count,
          .space = {{"point", categorical(names)}},
          .further = {},
          .metric = plan.metric};
}

}  // namespace

std::string start_recipe(Setup& setup, const TrainArgs& train, int seeds) {
  std::string start;
  for (int s = 0; s < (has_own_base(train) ? seeds : 1); ++s) {
    if (s > 0) setup.start_from(base_of(train, train.seed + static_cast<uint64_t>(s)));
    start += (s > 0 ? " " : "") + start_recipe(setup, train);
  }
  return start;
}

std::vector<Device*> pointers(const Devices& devices) {
  std::vector<Device*> pointers;
  for (const auto& device : devices) pointers.push_back(device.get());
  return pointers;
}

PointStudy::PointStudy(PointPlan plan, const TrainArgs& train, Setup& setup, const Devices& devices, Storage& storage)
    : plan_(std::move(plan)),
      trained_(train),
      untrained_(without_training(train)),
      setup_(setup),
      devices_(pointers(devices)),
      model_(std::make_shared<const Bert>(setup.config)),
      evaluate_(devices_, setup, untrained_, plan_.replicas),
      train_(devices_, setup, trained_, plan_.replicas),
      study_(storage, study_options(plan_)) {
  check_recipe(storage, plan_.study, plan_.recipe);
  for (const FrozenTrial& trial : study_.trials()) {
    if (!trial.finished()) continue;
    ++finished_;
    remove_atomic_folder(running_folder(trial.number));  // killed between the result and the tidying up
  }
}

void PointStudy::print_devices(const Devices& devices) const {
  fmt::print(stderr, "{}\n{}\n", setup_.data.description, describe(setup_.config));
  for (const auto& device : devices) fmt::print(stderr, "{}\n", device->describe());
}

void PointStudy::run() {
  for (;;) {
    std::map<uint64_t, Trials> by_seed;
    for (const Trial& trial : study_.ask(static_cast<int64_t>(size()))) {
      const size_t point = point_of(trial.record());
      by_seed[plan_.points[point].seed].emplace_back(trial, point);
    }
    for (const auto& [seed, trials] : by_seed) run_seed(seed, trials);
    if (!by_seed.empty()) continue;
    if (!study_.others_run()) return;
    if (stop_requested()) throw Stopped("mpq " + plan_.study + "; another process has points in flight");
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

size_t PointStudy::point_of(const FrozenTrial& trial) const {
  const std::string name = to_text(trial.find("point")->external());
  const auto at = std::find_if(plan_.points.begin(), plan_.points.end(), [&](const auto& p) { return p.name == name; });
  check(at != plan_.points.end(), "the study has a point {}", name);
  return static_cast<size_t>(at - plan_.points.begin());
}

// One order of the rows a seed, so that its points can share sessions.
void PointStudy::run_seed(uint64_t seed, const Trials& trials) {
  setup_.start_from(base_of(trained_, seed));
  const std::vector<TrialJob> all = jobs(trials);
  for (const bool trained : {false, true}) {
    std::vector<TrialJob> some;
    for (size_t i = 0; i < trials.size(); ++i)
      if (plan_.points[trials[i].second].trained == trained) some.push_back(all[i]);
    const WaveRunner& runner = trained ? train_ : evaluate_;
    runner.run(runner.sessions(std::move(some)), splits(), [this] { study_.heartbeat(); });
  }
}

TrialJob PointStudy::new_job(const Trial& trial, size_t point) const {
  const StudyPoint& p = plan_.points[point];
  return {.name = p.name,
          .model = model_,
          .formats = {},
          .seed = p.seed,
          .running = p.trained ? running_folder(trial.number()) : fs::path(),
          .recipe = plan_.recipe,
          .finished = {}};
}

void PointStudy::finish(Trial& trial, size_t point, const TrialResult& result, const std::string& shown) {
  if (result.diverged) trial.set_user_attr("mpq:diverged", true);
  trial.set_user_attr("mpq:seconds", result.seconds);
  trial.set_user_attr("mpq:replicas", result.replicas);
  study_.tell(trial, result.value);
  remove_atomic_folder(running_folder(trial.number()));
  fmt::print(stderr, "[{}/{}] {}: {}{}\n", ++finished_, size(), plan_.points[point].name, shown,
             result.diverged ? ", diverged" : "");
}

std::vector<const FrozenTrial*> PointStudy::finished_trials() const {
  std::vector<const FrozenTrial*> trials(size(), nullptr);
  for (const FrozenTrial& trial : study_.trials())
    if (trial.state == TrialState::complete) trials[point_of(trial)] = &trial;
  return trials;
}

}  // namespace mpq
