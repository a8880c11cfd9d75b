// Trials in one session: a replica each, in lockstep.
#pragma once
#include <chrono>
#include <span>

#include "app/kept_trial.h"
#include "train/phased_session.h"

namespace mpq {

class TrialSession {
 public:
  // Jobs of one seed, architecture and number of steps, all of which start from a checkpoint of their own or none, and
  // whose kept states stand at `step` (0: they start).
  TrialSession(Device& device, const TrialSetting& setting, std::span<const TrialJob> jobs, int64_t step);

  // Trains, evaluates on the splits and hands each job its result, the best first (equal ones in order): a study that
  // keeps the model of its best trial then writes one, where in any other order it may write several and drop them. A
  // trial that diverges goes on as dead weight until all have. `alive` is called every now and then, and may throw
  // Stopped. The states of long trials are written every five minutes (or --checkpoint-every steps), and when a stop is
  // asked for. Throws Stopped. Of several sessions at a time one shows its progress.
  void run(const TrialSplits& splits, const std::function<void()>& alive, bool shown = true);

 private:
  struct Running {
    TrainingState state;
    double before = 0;  // seconds spent by an earlier process
    bool diverged = false;
  };
  using Clock = std::chrono::steady_clock;

  int replicas() const { return static_cast<int>(jobs_.size()); }
  void start();
  void go_on(int replica, int64_t step);
  void train(const std::function<void()>& alive, bool shown);
  std::vector<Evaluation> evaluate(const Split& split, const std::function<void()>& alive);
  void add(const Session::StepResult& step);
  bool all_diverged() const;
  void keep_if_due();
  void keep();
  void go_on_or_stop(const std::function<void()>& alive);
  double seconds(int replica) const;
  TrialResult result(int replica, const Evaluation& evaluation, const Split& split) const;
  Hits hits(int replica, const Evaluation& evaluation, const Split& split) const;

  const TrialSetting& setting_;
  std::span<const TrialJob> jobs_;
  PhasedSession session_;
  std::vector<Running> running_;
  Clock::time_point start_ = Clock::now(), kept_ = start_;
};

}  // namespace mpq
