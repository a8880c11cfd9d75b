#include "app/sweep_run.h"

#include <fmt/format.h>

#include "app/search_space.h"
#include "base/text.h"
#include "nn/model_formats.h"

namespace mpq {
namespace {

// What decides a point's result beside its name.
std::string recipe_of(const SweepOptions& o, Setup& setup) {
  return fmt::format("data {} {} {} layers {}{}{}", setup.data.fingerprint, start_recipe(setup, o.train, o.seeds),
                     o.train.recipe(), o.layers.empty() ? "as the format" : join(o.layers, ";"),
                     o.calibration.in_recipe(), o.machine.precision_in_recipe());
}

PointPlan plan_of(const SweepOptions& o, Setup& setup) {
  PointPlan plan{.study = "sweep",
                 .metric = setup.data.valid.row_count() > 0 ? "valid accuracy" : "test accuracy",
                 .recipe = recipe_of(o, setup),
                 .points = {},
                 .running = o.out + "/running/",
                 .replicas = o.replicas};
  for (const SweepPoint& p : sweep_points(o, parts_of(o, Bert(setup.config))))
    plan.points.push_back({p.name(), p.seed, p.trained});
  return plan;
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
    : PointStudy(plan_of(options, setup), options.train, setup, devices, storage),
      options_(options),
      points_(sweep_points(options, parts_of(options, *model()))) {}

void Sweep::print_plan(const Devices& devices) const {
  print_devices(devices);
  fmt::print(stderr, "{} points in {}, {} finished already; a trained one is {} steps of {} rows\n", size(),
             options_.storage, finished(), steps(), options_.train.batch);
}

std::vector<ClosedFormats> Sweep::close(const Trials& trials) const {
  std::vector<OpenFormats> open;
  for (const auto& [trial, point] : trials) open.push_back(formats_of(points_[point], options_, *model()));
  return options_.calibration.close(open, first_device(), *model(), setup().data_options.max_tokens, setup().data.train,
                                    points_[trials[0].second].seed,
                                    [this](Session& session) { start_weights(session, setup()); });
}

std::vector<TrialJob> Sweep::jobs(const Trials& trials) {
  const std::vector<ClosedFormats> formats = close(trials);
  std::vector<TrialJob> jobs;
  for (size_t i = 0; i < trials.size(); ++i) {
    auto [trial, point] = trials[i];
    std::vector<std::string> texts;
    for (size_t row = 0; row < formats[i].size(); ++row)
      texts.push_back(row_format_text(*model(), static_cast<int>(row), formats[i][row]));
    trial.set_user_attr("mpq:formats", texts);
    trial.set_user_attr("mpq:bits", bits_per_linear_weight(*model(), formats[i]));
    TrialJob job = new_job(trial, point);
    job.formats = formats[i];
    job.finished = [this, trial = trial, point = point](Session&, int, const TrialResult& result) mutable {
      finish_point(trial, point, result);
    };
    jobs.push_back(std::move(job));
  }
  return jobs;
}

TrialSplits Sweep::splits() const {
  const Split &valid = setup().data.valid, &test = setup().data.test;
  if (valid.row_count() == 0) return test;
  return {valid, test.row_count() > 0 ? &test : nullptr};
}

void Sweep::finish_point(Trial& trial, size_t point, const TrialResult& result) {
  const bool valid = setup().data.valid.row_count() > 0;
  const std::optional<double> also =
      result.also.rows > 0 ? std::optional(result.also.accuracy().value()) : std::nullopt;
  const std::optional<double> test = valid ? also : std::optional(result.value);
  if (valid) trial.set_user_attr("mpq:valid", result.value);
  if (test) trial.set_user_attr("mpq:test", *test);
  finish(trial, point, result, fmt::format("{:.4f}{}", test.value_or(result.value), test ? " on test" : ""));
}

std::vector<SweepResult> Sweep::results() const {
  const std::vector<const FrozenTrial*> trials = finished_trials();
  std::vector<SweepResult> results;
  for (size_t i = 0; i < points_.size(); ++i) {
    if (!trials[i]) continue;
    const FrozenTrial& trial = *trials[i];
    results.push_back({.point = points_[i],
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
