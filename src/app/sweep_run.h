// A sweep as a study of its points.
#pragma once
#include <optional>

#include "app/point_study.h"
#include "app/sweep_points.h"

namespace mpq {

struct SweepResult {
  SweepPoint point;
  std::optional<double> valid, test;  // accuracies; nothing where the data have no such split
  double bits = 0;                    // average a Linear weight, shared exponents and scales counted
  double seconds = 0;
  bool diverged = false;
  std::vector<std::string> formats;  // concrete, nn/model_formats.h
};

class Sweep : public PointStudy {
 public:
  Sweep(const SweepOptions& options, Setup& setup, const Devices& devices, Storage& storage);

  void print_plan(const Devices& devices) const;
  std::vector<SweepResult> results() const;

 private:
  std::vector<TrialJob> jobs(const Trials& trials) override;
  TrialSplits splits() const override;
  std::vector<ClosedFormats> close(const Trials& trials) const;
  void finish_point(Trial& trial, size_t point, const TrialResult& result);

  const SweepOptions& options_;
  std::vector<SweepPoint> points_;
};

}  // namespace mpq
