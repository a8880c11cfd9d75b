// A wave of trials, of several studies: cut into sessions that fit a device's memory, a replica a trial, and shared out
// among the devices. Neither which trials share a session nor where it runs changes a bit of their results.
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

// In which order they are begun, so that none of them is waited for alone at the end.
std::vector<size_t> largest_first(const std::vector<SessionJobs>& sessions);

class WaveRunner {
 public:
  // Devices of one kind, each `lanes` times: those share its memory, and no wave is cut for them, as large sessions
  // beside each other take as long as one. At most `replicas` trials a session; 0: what suits a device.
  WaveRunner(std::vector<Device*> devices, const Setup& setup, const TrainArgs& train, int replicas, int lanes = 1);

  // The sessions that train these jobs. Together are those of one architecture whose states stand at the same step and
  // that train for as many epochs; of those that only evaluate the base, those that share as many float layers. Those
  // whose tiles lie over a sequence (they would slow down a whole session) have sessions of their own, the last. No
  // session has more than a device's share of the jobs (of all its lanes). UserError if the memory is too small for one
  // of them.
  std::vector<SessionJobs> sessions(std::vector<TrialJob> jobs) const;
  // Trains the sessions, evaluates them on the splits, and calls every job's `finished`. Each device has a thread of
  // its own, and takes the next session, the largest first, when it is free; `alive` and `finished` are called in the
  // caller's. Where one device fails the others stop, and their trials keep their states. Throws Stopped.
  void run(const std::vector<SessionJobs>& sessions, const TrialSplits& splits,
           const std::function<void()>& alive) const;

  void write(const std::filesystem::path& folder, Session& session, int replica) const;
  // Evaluates models that `write` wrote.
  std::vector<Evaluation> evaluate_kept(const std::vector<std::filesystem::path>& folders, const Split& split) const;

  size_t devices() const { return devices_.size(); }
  int64_t steps(const TrialJob& job) const { return setting_.steps(job); }
  // Bytes that the session takes.
  size_t memory(std::span<const TrialJob> jobs) const;

 private:
  size_t fitting(const Bert& model, std::span<const Replica> replicas, const SessionOptions& options) const;

  const Device& tightest() const;  // the device with the least free memory

  std::vector<Device*> devices_;
  TrialSetting setting_;
  size_t most_, most_sharing_;  // replicas a session; where they share layers
  int lanes_;
};

}  // namespace mpq
