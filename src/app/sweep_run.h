// A sweep as a grid study of one parameter, the point: a killed one goes on, Optuna's tools read it, and several
// processes can share it.
#pragma once
#include <optional>

#include "app/sweep_points.h"
#include "app/wave.h"
#include "search/study.h"

namespace mpq {

struct SweepResult {
  SweepPoint point;
  std::optional<double> valid, test;  // accuracies; nothing where the data have no such split
  double bits = 0;                    // average a Linear weight, shared exponents and scales counted
  double seconds = 0;
  bool diverged = false;
  std::vector<std::string> formats;  // concrete, nn/model_formats.h
};

class Sweep {
 public:
  Sweep(const SweepOptions& options, Setup& setup, const Devices& devices, Storage& storage);

  void print_plan(const Devices& devices) const;
  void run();  // until every point is finished; throws Stopped
  std::vector<SweepResult> results() const;

 private:
  using Trials = std::vector<std::pair<Trial, const SweepPoint*>>;

  const SweepPoint& point_of(const FrozenTrial& trial) const;
  void run_seed(uint64_t seed, const Trials& trials);
  std::vector<ClosedFormats> close(const Trials& trials) const;
  TrialJob job(const Trial& trial, const SweepPoint& point, const ClosedFormats& formats);
  void finish(Trial& trial, const SweepPoint& point, const TrialResult& result);
  std::filesystem::path running_folder(int64_t number) const;
  TrialSplits splits() const;

  const SweepOptions& options_;
  Setup& setup_;
  std::vector<Device*> devices_;
  std::vector<SweepPoint> points_;
  std::string recipe_;
  std::shared_ptr<const Bert> model_;
  TrainArgs untrained_;          // of the points that only evaluate
  WaveRunner evaluate_, train_;  // the two kinds of points
  Study study_;
  size_t finished_ = 0;
};

}  // namespace mpq
