#include "app/search_rounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>
#include <thread>

#include "app/point_study.h"
#include "app/recipe.h"
#include "base/statistics.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
namespace {

// What decides a trial's result beside its formats; a stored study goes on only with the same.
std::string recipe_of(const SearchOptions& o, const Setup& setup) {
  const TrainArgs& t = o.train;
  return fmt::format(
      "data {} select {} {} {} max-bits {}{}{}{}", setup.data.fingerprint, o.select, start_recipe(setup, t), t.recipe(),
      o.max_bits ? fmt::format("{}", *o.max_bits) : "none", o.max_bits && o.budget == "model" ? " a parameter" : "",
      o.max_parameters ? fmt::format(" max-parameters {}", *o.max_parameters) : "", o.machine.precision_in_recipe());
}

double mcnemar_against(const Evaluation& control, const Evaluation& e) {
  int64_t only_control = 0, only_e = 0;
  for (size_t i = 0; i < e.labels.size(); ++i) {
    const bool a = control.predicted.at(i) == e.labels[i], b = e.predicted[i] == e.labels[i];
    only_control += a && !b, only_e += b && !a;
  }
  return mcnemar_p(only_control, only_e);
}

}  // namespace

Search::Search(const SearchOptions& options, const Setup& setup, const Devices& devices, Storage& storage)
    : options_(options),
      setup_(setup),
      test_selects_(options.select == "test"),
      plan_(plan_search(options, std::make_shared<const Bert>(setup.config))),
      runner_(pointers(devices), setup, options_.train, options_.replicas, options_.lanes) {
  const std::string recipe = recipe_of(options, setup);
  for (const PlannedStudy& plan : plan_.studies) {
    studies_.push_back(std::make_unique<SearchStudy>(plan, options, runner_, storage, recipe));
    const int64_t planned = studies_.back()->planned_trials();
    first_round_.insert(first_round_.end(), static_cast<size_t>(std::min(planned, options.parallel)),
                        studies_.back()->largest());
    planned_ += planned;
  }
  for (const auto& study : studies_) finished_ += study->result().finished;
}

SearchStyle Search::style() const {
  return {plan_.subject, plan_.control, options_.select, plan_.architectures, options_.budget == "model"};
}

void Search::print_plan(const Devices& devices) const {
  size_t memory = 0, together = 0;
  for (const SessionJobs& session : runner_.sessions(first_round_)) {
    memory = std::max(memory, runner_.memory(session.jobs));
    together = std::max(together, session.jobs.size());
  }
  fmt::print(stderr, "{}\n{}{}\n", setup_.data.description, plan_.architectures ? "control: " : "",
             describe(setup_.config));
  for (const auto& device : devices)
    fmt::print(stderr, "{}: {} of memory, {} trial(s) at once\n", device->describe(), human_bytes(memory), together);
  fmt::print(stderr, "{} studies in {}: {} trials at most, {} finished already; each {} steps, then {} {} rows\n",
             studies_.size(), options_.storage, planned_, finished_, runner_.steps(first_round_[0]),
             selection().row_count(), options_.select);
  if (test_selects_)
    fmt::print(stderr, "selection on the test split, as in the labs: the best of many trials is optimistic\n");
}

void Search::run() {
  for (;;) {
    if (run_round()) continue;
    if (!others_run()) return;
    if (stop_requested()) throw Stopped("the search; another process has trials in flight");
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

// False: no study had a trial for this process.
bool Search::run_round() {
  bool any = false;
  for (auto& study : studies_) any |= study->ask();
  for (;;) {  // once more where a trial waited for its twin, or has a second part
    std::vector<TrialJob> jobs;
    for (auto& study : studies_)
      for (TrialJob& job : study->jobs([&](const FrozenTrial& trial) { print_trial(*study, trial); }))
        jobs.push_back(std::move(job));
    if (jobs.empty()) return any;
    train(jobs, selection_and_watched());
  }
}

void Search::train(const std::vector<TrialJob>& jobs, const TrialSplits& splits) {
  const auto alive = [&] {
    for (auto& study : studies_) study->heartbeat();
    estimate();
  };
  runner_.run(runner_.sessions(once_each(jobs)), splits, alive);
  estimate();
}

void Search::print_trial(const SearchStudy& study, const FrozenTrial& trial) {
  const auto attribute = [&](const char* key) {
    const auto at = trial.user_attrs.find(key);
    return at == trial.user_attrs.end() ? "" : at->second;
  };
  const std::string seconds = attribute("mpq:seconds"), same = attribute("mpq:same_as");
  std::string line = fmt::format("[{}/{}] {} trial {}: ", ++finished_, planned_, study.name(), trial.number);
  if (trial.values.empty())
    line += fmt::format("{}, {} bits, {} parameters", to_text(trial.state),
                        attribute(options_.budget == "model" ? "mpq:bits_per_parameter" : "mpq:bits"),
                        attribute("mpq:parameters"));
  else
    line += fmt::format("{:.4f}", trial.values[0]);
  if (plan_.architectures) line += ", " + nlohmann::json::parse(attribute("mpq:architecture")).get<std::string>();
  if (!attribute("mpq:diverged").empty()) line += ", diverged";
  if (!same.empty()) line += ", as trial " + same;
  if (!seconds.empty()) line += fmt::format(", {:.1f} s", parse_double(seconds).value_or(0));
  fmt::print(stderr, "{}\n", line);
  if (!seconds.empty() && !study.is_control()) seconds_.push_back(parse_double(seconds).value_or(0));
}

// Once, after the first session with a trial that is not the control; where models differ, after some of them.
void Search::estimate() {
  if (estimated_ || seconds_.size() < (plan_.architectures ? 5 : 1)) return;
  estimated_ = true;
  const double each = std::accumulate(seconds_.begin(), seconds_.end(), 0.0) / static_cast<double>(seconds_.size());
  const double seconds = each * static_cast<double>(planned_ - finished_) / static_cast<double>(runner_.devices());
  fmt::print(stderr, "estimated: {} {} for the other {} trials\n", plan_.architectures ? "about" : "at most",
             human_seconds(seconds), planned_ - finished_);
}

bool Search::others_run() const {
  return std::any_of(studies_.begin(), studies_.end(), [](const auto& f) { return f->study().others_run(); });
}

std::vector<StudyResult> Search::results() {
  std::vector<StudyResult> results;
  for (auto& study : studies_) results.push_back(study->result());
  if (setup_.data.test.row_count() == 0) return results;
  if (!test_selects_) test_winners(results);
  confirm_winners(results);
  return results;
}

// The winners and the control on the test split, once.
void Search::test_winners(std::vector<StudyResult>& results) {
  restore_lost_models(results);
  std::vector<std::filesystem::path> folders;
  std::vector<StudyResult*> winners;
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].winner < 0 || results[i].diverged) continue;
    winners.push_back(&results[i]);
    folders.push_back(studies_[i]->winner_model());
  }
  const std::vector<Evaluation> evaluations = runner_.evaluate_kept(folders, setup_.data.test);
  const Evaluation* control = nullptr;
  for (size_t i = 0; i < winners.size(); ++i) {
    winners[i]->test_accuracy = evaluations[i].accuracy();
    if (winners[i]->is_control)
      control = &evaluations[i];
    else if (control)
      winners[i]->mcnemar = mcnemar_against(*control, evaluations[i]);
  }
}

void Search::restore_lost_models(const std::vector<StudyResult>& results) {
  for (;;) {  // once more where a model has a second part
    std::vector<TrialJob> lost;
    for (size_t i = 0; i < results.size(); ++i) {
      if (results[i].winner < 0 || results[i].diverged) continue;
      if (auto job = studies_[i]->lost_model()) lost.push_back(std::move(*job));
    }
    if (lost.empty()) return;
    train(lost, selection());
  }
}

// The winners again with other seeds, on the test split: a wave a seed. What a watched test split would have selected
// too, once where that is the winner.
void Search::confirm_winners(std::vector<StudyResult>& results) {
  for (uint64_t seed = options_.train.seed + 1; seed <= options_.train.seed + static_cast<uint64_t>(options_.confirm);
       ++seed) {
    confirm_with(seed, results);
    for (size_t i = 0; i < results.size(); ++i) {
      StudyResult& r = results[i];
      if (r.winner >= 0) r.confirmed.push_back(*studies_[i]->confirmed(r.winner, seed));
      if (r.best_on_test >= 0) r.confirmed_on_test.push_back(*studies_[i]->confirmed(r.best_on_test, seed));
    }
  }
}

void Search::confirm_with(uint64_t seed, std::vector<StudyResult>& results) {
  for (;;) {  // once more where a model has a second part
    std::vector<TrialJob> jobs;
    for (size_t i = 0; i < results.size(); ++i)
      for (const int64_t trial : std::set{results[i].winner, results[i].best_on_test})
        if (trial >= 0)
          if (auto job = studies_[i]->confirmation(trial, seed)) jobs.push_back(std::move(*job));
    if (jobs.empty()) return;
    train(jobs, setup_.data.test);
  }
}

}  // namespace mpq
