#include "app/prune_run.h"

#include <fmt/format.h>

#include "base/text.h"

namespace mpq {
namespace {

// What decides a point's result beside its name.
std::string recipe_of(const PruneOptions& o, Setup& setup, const PrunePoint& last) {
  const Bert model(setup.config);
  const std::string start = start_recipe(setup, o.train, o.seeds);
  std::string formats;
  for (const LinearSpec& spec : o.formats.resolve(model, setup.init->formats)) formats += " " + to_text(spec);
  return fmt::format("data {} {} {} {} formats{}{}", setup.data.fingerprint, start, o.train.recipe(),
                     to_text(pruning_of(last, o, model), model), formats, o.machine.precision_in_recipe());
}

PointPlan plan_of(const PruneOptions& o, Setup& setup) {
  const std::vector<PrunePoint> points = prune_points(o);
  PointPlan plan{.study = "prune",
                 .metric = "accuracy",
                 .recipe = recipe_of(o, setup, points.back()),
                 .points = {},
                 .running = is_single(points) ? o.out + ".running" : o.out + "/running/",
                 .replicas = o.replicas};
  for (const PrunePoint& p : points) plan.points.push_back({p.name(), p.seed, p.tuned});
  return plan;
}

}  // namespace

PruneRun::PruneRun(const PruneOptions& options, Setup& setup, const Devices& devices, Storage& storage)
    : PointStudy(plan_of(options, setup), options.train, setup, devices, storage),
      options_(options),
      points_(prune_points(options)) {}

void PruneRun::print_plan(const Devices& devices) const {
  print_devices(devices);
  fmt::print(stderr, "{} points, {} finished already; fine-tuning is {} steps of {} rows\n", size(), finished(),
             steps(), options_.train.batch);
}

std::vector<TrialJob> PruneRun::jobs(const Trials& trials) {
  const bool single = is_single(points_);
  std::vector<TrialJob> jobs;
  for (const auto& [trial, point] : trials) {
    const PrunePoint& p = points_[point];
    const bool kept = single && !p.is_control() && p.tuned == options_.tunes();
    TrialJob job = new_job(trial, point);
    job.formats = options_.formats.resolve(*model(), setup().init->formats);
    job.pruning = pruning_of(p, options_, *model());
    job.finished = [this, trial = trial, point = point, kept](Session& session, int r,
                                                              const TrialResult& result) mutable {
      if (kept) runner().write(options_.out, session, r);
      finish(trial, point, result, fmt::format("{:.4f}", result.value));
    };
    jobs.push_back(std::move(job));
  }
  return jobs;
}

std::vector<PruneResult> PruneRun::results() const {
  const std::vector<const FrozenTrial*> trials = finished_trials();
  std::vector<PruneResult> results;
  for (size_t i = 0; i < points_.size(); ++i) {
    if (!trials[i]) continue;
    const FrozenTrial& trial = *trials[i];
    results.push_back({.point = points_[i],
                       .accuracy = trial.values.at(0),
                       .seconds = nlohmann::json::parse(trial.user_attrs.at("mpq:seconds")).get<double>(),
                       .diverged = trial.user_attrs.contains("mpq:diverged")});
  }
  return results;
}

}  // namespace mpq
