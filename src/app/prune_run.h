// mpq prune as a grid study of one parameter, the point: a killed one goes on, and Optuna's tools read it.
#pragma once
#include "app/prune_points.h"
#include "app/wave.h"
#include "search/study.h"

namespace mpq {

struct PruneResult {
  PrunePoint point;
  double accuracy;
  double seconds = 0;
  bool diverged = false;
};

class PruneRun {
 public:
  PruneRun(const PruneOptions& options, Setup& setup, const Devices& devices, Storage& storage);

  void print_plan(const Devices& devices) const;
  void run();  // until every point is finished; throws Stopped
  std::vector<PruneResult> results() const;
  // The split that points are evaluated on: the test split if there is one, else the validation split.
  const Split& split() const;
  bool on_test() const { return setup_.data.test.row_count() > 0; }

 private:
  using Trials = std::vector<std::pair<Trial, const PrunePoint*>>;

  const PrunePoint& point_of(const FrozenTrial& trial) const;
  void run_seed(uint64_t seed, const Trials& trials);
  TrialJob job(const Trial& trial, const PrunePoint& point);
  void finish(Trial& trial, const PrunePoint& point, Session& session, int replica, const TrialResult& result);
  std::filesystem::path running_folder(int64_t number) const;

  const PruneOptions& options_;
  Setup& setup_;
  std::vector<Device*> devices_;
  std::vector<PrunePoint> points_;
  bool single_;
  std::string recipe_;
  std::shared_ptr<const Bert> model_;
  TrainArgs untrained_;      // of the points that only evaluate
  WaveRunner prune_, tune_;  // the two kinds of points
  Study study_;
  size_t finished_ = 0;
};

}  // namespace mpq
