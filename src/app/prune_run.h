// mpq prune as a study of its points.
#pragma once
#include "app/point_study.h"
#include "app/prune_points.h"

namespace mpq {

struct PruneResult {
  PrunePoint point;
  double accuracy;
  double seconds = 0;
  bool diverged = false;
};

class PruneRun : public PointStudy {
 public:
  PruneRun(const PruneOptions& options, Setup& setup, const Devices& devices, Storage& storage);

  void print_plan(const Devices& devices) const;
  std::vector<PruneResult> results() const;
  // Points are evaluated on the test split if there is one, else on the validation split.
  bool on_test() const { return setup().data.test.row_count() > 0; }

 private:
  std::vector<TrialJob> jobs(const Trials& trials) override;
  TrialSplits splits() const override { return on_test() ? setup().data.test : setup().data.valid; }

  const PruneOptions& options_;
  std::vector<PrunePoint> points_;
};

}  // namespace mpq
