#include "app/search_rounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "app/recipe.h"
#include "base/statistics.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
namespace {

// What decides a trial's result beside its formats; a stored study goes on only with the same.
std::string recipe_of(const SearchOptions& o, const Setup& setup) {
  const TrainArgs& t = o.train;
  return fmt::format("data {} select {} {} {} max-bits {}{}", setup.data.fingerprint, o.select, start_recipe(setup, t),
                     t.recipe(), o.max_bits ? fmt::format("{}", *o.max_bits) : "none", o.machine.precision_in_recipe());
}

std::vector<Device*> pointers(const Devices& devices) {
  std::vector<Device*> pointers;
  for (const auto& device : devices) pointers.push_back(device.get());
  return pointers;
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
      runner_(pointers(devices), setup, options_.train, options_.replicas) {
  const auto spaces = options.space.empty() ? family_spaces(options.family) : named_space(options.space);
  const std::string recipe = recipe_of(options, setup);
  for (const FamilySpace& space : spaces) {
    families_.push_back(std::make_unique<FamilySearch>(space, options, runner_, storage, recipe));
    const int64_t planned = families_.back()->planned_trials();
    const std::vector<LinearSpec> formats(model().linears().size(), parse_linear_spec(space.choices[0]));
    first_round_.insert(first_round_.end(), static_cast<size_t>(std::min(planned, options.parallel)),
                        {.formats = formats, .seed = options.train.seed});
    planned_ += planned;
  }
  for (const auto& family : families_) finished_ += family->result().trials;
}

void Search::print_plan(const Devices& devices) const {
  size_t memory = 0, together = 0;
  for (const SessionJobs& session : runner_.sessions(first_round_)) {
    memory = std::max(memory, runner_.memory(session.jobs));
    together = std::max(together, session.jobs.size());
  }
  fmt::print(stderr, "{}\n{}\n", setup_.data.description, describe(setup_.config));
  for (const auto& device : devices)
    fmt::print(stderr, "{}: {} of memory, {} trial(s) at once\n", device->describe(), human_bytes(memory), together);
  fmt::print(stderr, "{} studies in {}: {} trials at most, {} finished already; each {} steps, then {} {} rows\n",
             families_.size(), options_.storage, planned_, finished_, runner_.steps(), selection().row_count(),
             options_.select);
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
  for (auto& family : families_) any |= family->ask();
  for (;;) {  // once more where a trial waited for its twin
    std::vector<TrialJob> jobs;
    for (auto& family : families_)
      for (TrialJob& job : family->jobs([&](const FrozenTrial& trial) { print_trial(family->family(), trial); }))
        jobs.push_back(std::move(job));
    if (jobs.empty()) return any;
    train(std::move(jobs), selection());
  }
}

void Search::train(std::vector<TrialJob> jobs, const Split& split) {
  const auto alive = [&] {
    for (auto& family : families_) family->heartbeat();
    estimate();
  };
  runner_.run(runner_.sessions(std::move(jobs)), split, alive);
  estimate();
}

void Search::print_trial(const std::string& family, const FrozenTrial& trial) {
  const auto attribute = [&](const char* key) {
    const auto at = trial.user_attrs.find(key);
    return at == trial.user_attrs.end() ? "" : at->second;
  };
  const std::string seconds = attribute("mpq:seconds"), same = attribute("mpq:same_as");
  std::string line = fmt::format("[{}/{}] {} trial {}: ", ++finished_, planned_, family, trial.number);
  if (trial.values.empty())
    line += fmt::format("{}, {} bits", to_text(trial.state), attribute("mpq:bits"));
  else
    line += fmt::format("{:.4f}", trial.values[0]);
  if (!attribute("mpq:diverged").empty()) line += ", diverged";
  if (!same.empty()) line += ", as trial " + same;
  if (!seconds.empty()) line += fmt::format(", {:.1f} s", parse_double(seconds).value_or(0));
  fmt::print(stderr, "{}\n", line);
  if (!seconds.empty() && family != "none") quantized_seconds_ = parse_double(seconds).value_or(0);
}

// Once, after the first session with a quantized trial: a float one would promise too much.
void Search::estimate() {
  if (estimated_ || quantized_seconds_ == 0) return;
  estimated_ = true;
  const double seconds =
      quantized_seconds_ * static_cast<double>(planned_ - finished_) / static_cast<double>(runner_.devices());
  fmt::print(stderr, "estimated: at most {} for the other {} trials\n", human_seconds(seconds), planned_ - finished_);
}

bool Search::others_run() const {
  return std::any_of(families_.begin(), families_.end(), [](const auto& f) { return f->study().others_run(); });
}

std::vector<FamilyResult> Search::results() {
  std::vector<FamilyResult> results;
  for (auto& family : families_) results.push_back(family->result());
  if (setup_.data.test.row_count() == 0) return results;
  if (!test_selects_) test_winners(results);
  confirm_winners(results);
  return results;
}

// The winners and the float control on the test split, once.
void Search::test_winners(std::vector<FamilyResult>& results) {
  std::vector<TrialJob> lost;
  std::vector<std::filesystem::path> folders;
  std::vector<FamilyResult*> winners;
  for (size_t i = 0; i < results.size(); ++i) {
    if (results[i].winner < 0 || results[i].diverged) continue;
    winners.push_back(&results[i]);
    folders.push_back(families_[i]->winner_model());
    if (auto job = families_[i]->lost_model()) lost.push_back(std::move(*job));
  }
  train(std::move(lost), selection());
  const std::vector<Evaluation> evaluations = runner_.evaluate_kept(folders, setup_.data.test);
  const Evaluation* control = nullptr;
  for (size_t i = 0; i < winners.size(); ++i) {
    winners[i]->test_accuracy = evaluations[i].accuracy();
    if (winners[i]->family == "none")
      control = &evaluations[i];
    else if (control)
      winners[i]->mcnemar = mcnemar_against(*control, evaluations[i]);
  }
}

// The winners again with other seeds, on the test split: a wave a seed.
void Search::confirm_winners(std::vector<FamilyResult>& results) {
  for (int s = 1; s <= options_.confirm; ++s) {
    const uint64_t seed = options_.train.seed + static_cast<uint64_t>(s);
    std::vector<TrialJob> jobs;
    for (FamilyResult& r : results) {
      if (r.winner < 0) continue;
      const auto add = [&r](Session&, int, const TrialResult& result) { r.confirmed.push_back(result.value); };
      jobs.push_back({.name = fmt::format("confirming {} with seed {}", r.family, seed),
                      .formats = r.formats,
                      .seed = seed,
                      .finished = add});
    }
    train(std::move(jobs), setup_.data.test);
  }
}

}  // namespace mpq
