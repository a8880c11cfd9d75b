#include "app/trial_session.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/progress.h"
#include "base/stop.h"

namespace mpq {
namespace {

constexpr std::chrono::minutes kKeepEvery{5};

struct AllDiverged {};

std::vector<int> best_first(const std::vector<TrialResult>& results) {
  std::vector<int> order(results.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return results[a].value > results[b].value; });
  return order;
}

std::string title(std::span<const TrialJob> jobs) {
  return jobs.size() == 1 ? jobs[0].name : fmt::format("wave of {} trials", jobs.size());
}

}  // namespace

TrialSession::TrialSession(Device& device, const TrialSetting& setting, std::span<const TrialJob> jobs, int64_t step)
    : setting_(setting),
      jobs_(jobs),
      session_(setting.replicas(jobs), setting.float_steps(jobs[0]),
               [&](const std::vector<Replica>& replicas) {
                 return std::make_unique<Session>(device, *jobs_[0].model, replicas, setting.session_options(jobs_[0]));
               }),
      running_(jobs.size()) {
  for (const TrialJob& job : jobs)
    check(job.seed == jobs[0].seed, "trials of the seeds {} and {} in one session", job.seed, jobs[0].seed);
  session_.begin(step);
  if (step == 0) start();
  for (int r = 0; r < replicas() && step > 0; ++r) go_on(r, step);
}

void TrialSession::start() {
  if (jobs_[0].start.empty()) return start_weights(*session_, setting_.setup);
  for (int r = 0; r < replicas(); ++r) start_weights(*session_, r, read_checkpoint(jobs_[r].start));
}

void TrialSession::go_on(int replica, int64_t step) {
  auto kept = read_kept(setting_, jobs_[replica]);
  if (!kept || kept->state.optimizer.step != step)
    throw UserError(fmt::format("{}: its state vanished while the search started", jobs_[replica].running.string()),
                    "the same command starts the trial anew");
  load_into(*session_, replica, kept->weights);
  session_->restore(replica, kept->state.optimizer);
  kept->state.optimizer = {};
  running_[replica] = {.state = std::move(kept->state), .before = kept->state.seconds};
}

void TrialSession::run(const TrialSplits& splits, const std::function<void()>& alive, bool shown) {
  std::vector<Evaluation> evaluations(replicas()), also(replicas());
  try {
    train(alive, shown);
    evaluations = evaluate(splits.split, alive);
    if (splits.also) also = evaluate(*splits.also, alive);
  } catch (const AllDiverged&) {
  }
  std::vector<TrialResult> results;  // before anybody's `finished`: writing models is no trial's time
  for (int r = 0; r < replicas(); ++r) {
    results.push_back(result(r, evaluations[r], splits.split));
    if (splits.also) results.back().also = hits(r, also[r], *splits.also);
  }
  for (const int r : best_first(results)) jobs_[r].finished(*session_, r, results[r]);
}

void TrialSession::train(const std::function<void()>& alive, bool shown) {
  TrainPlan plan = plan_of(setting_.train_of(jobs_[0]));
  plan.data_seed = jobs_[0].seed;
  Progress progress(title(jobs_), setting_.steps(jobs_[0]), "steps", session_->step());
  const auto after = [&](const Progressed& steps) {
    for (const Session::StepResult& step : steps.results) add(step);
    if (all_diverged()) throw AllDiverged{};
    if (shown) progress.update(session_->step());
    keep_if_due();
    go_on_or_stop(alive);
  };
  session_.train(plan, [&](Session& session, const TrainPlan& phase) {
    mpq::train(session, setting_.setup.data.train, phase, after);
  });
}

std::vector<Evaluation> TrialSession::evaluate(const Split& split, const std::function<void()>& alive) {
  return mpq::evaluate(*session_, split, [&](int64_t) { go_on_or_stop(alive); });
}

void TrialSession::add(const Session::StepResult& step) {
  for (int r = 0; r < replicas(); ++r) {
    running_[r].diverged |= !std::isfinite(step.loss[r]) || !std::isfinite(step.norm[r]);
    running_[r].state.loss.push_back(step.loss[r]);
    running_[r].state.norm.push_back(step.norm[r]);
  }
}

bool TrialSession::all_diverged() const {
  return std::all_of(running_.begin(), running_.end(), [](const Running& r) { return r.diverged; });
}

void TrialSession::keep_if_due() {
  const int every = setting_.train.checkpoint_every;
  if (every > 0 ? session_->step() % every == 0 : Clock::now() - kept_ > kKeepEvery) keep();
}

// A trial killed between two folders finds states of two steps, and then continues in two sessions. One that diverged
// has nothing worth keeping: it diverges again, alone, in its first steps.
void TrialSession::keep() {
  for (int r = 0; r < replicas() && session_->step() > 0; ++r) {
    if (jobs_[r].running.empty() || running_[r].diverged) continue;
    running_[r].state.seconds = seconds(r);
    write_kept(setting_, jobs_[r], *session_, r, running_[r].state);
  }
  kept_ = Clock::now();
}

void TrialSession::go_on_or_stop(const std::function<void()>& alive) {
  try {
    alive();
    if (stop_requested()) throw Stopped("the search; the same command goes on where it stopped");
  } catch (const Stopped&) {
    keep();
    throw;
  }
}

double TrialSession::seconds(int replica) const {
  const double here = std::chrono::duration<double>(Clock::now() - start_).count();
  return running_[replica].before + here / replicas();
}

Hits TrialSession::hits(int replica, const Evaluation& evaluation, const Split& split) const {
  const bool diverged = running_[replica].diverged || !evaluation.finite;
  const auto rows = static_cast<double>(split.row_count());
  return {diverged ? std::llround(majority_share(split) * rows) : evaluation.correct(), split.row_count()};
}

TrialResult TrialSession::result(int replica, const Evaluation& evaluation, const Split& split) const {
  const Hits hits = this->hits(replica, evaluation, split);
  return {.diverged = running_[replica].diverged || !evaluation.finite,
          .correct = hits.correct,
          .rows = hits.rows,
          .value = static_cast<double>(hits.correct) / static_cast<double>(hits.rows),
          .seconds = seconds(replica),
          .replicas = replicas()};
}

}  // namespace mpq
