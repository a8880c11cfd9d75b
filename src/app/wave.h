// A wave of trials, of several studies: cut into sessions that fit the device's memory, a replica a trial. Which trials
// share a session changes no bit of their results.
#pragma once
#include <span>

#include "app/trial.h"
#include "tensor/device.h"

namespace mpq {

// Trials that share a session.
struct SessionJobs {
  std::vector<TrialJob> jobs;
  int64_t step = 0;  // of their kept states; 0: they start
};

class WaveRunner {
 public:
  // At most `replicas` trials a session; 0: what suits the device.
  WaveRunner(Device& device, const Setup& setup, const TrainArgs& train, int replicas);

  // The sessions that train these jobs. Together are those whose states stand at the same step; those whose formats
  // look over a sequence (they would slow down a whole session) have sessions of their own, the last. UserError if the
  // memory is too small for one of them.
  std::vector<SessionJobs> sessions(std::vector<TrialJob> jobs) const;
  // Trains one session, evaluates it on `split`, and calls every job's `finished`. Throws Stopped.
  void run(const SessionJobs& session, const Split& split, const std::function<void()>& alive) const;

  void write(const std::filesystem::path& folder, Session& session, int replica) const;
  // Evaluates models that `write` wrote.
  std::vector<Evaluation> evaluate_kept(const std::vector<std::filesystem::path>& folders, const Split& split) const;

  const Bert& model() const { return setting_.model; }
  int64_t steps() const { return setting_.steps(); }
  // Bytes that the session takes.
  size_t memory(std::span<const TrialJob> jobs) const;

 private:
  size_t fitting(std::span<const Replica> replicas, const SessionOptions& options) const;
  std::vector<Replica> replicas_of(std::span<const TrialJob> jobs) const;

  TrialSetting setting_;
  size_t most_;  // replicas a session
};

}  // namespace mpq
