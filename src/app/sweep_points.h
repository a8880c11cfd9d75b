// The points of a sweep: every format at every width, with and without training, for every seed.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "app/calibration_options.h"
#include "app/format_options.h"
#include "app/options.h"
#include "app/teacher_options.h"

namespace mpq {

struct SweepOptions {
  DataArgs data;
  TrainArgs train;
  CalibrationArgs calibration;
  TeacherArgs teacher;
  MachineArgs machine;
  std::vector<std::string> formats;  // % stands for the width
  std::string each = "model", family, widths = "4,6,8,10,12,16,20,24,32", mode = "both", storage, out = "out/sweep";
  std::vector<std::string> layers;  // as FormatArgs::layers, on top of every format but `none`
  int seeds = 3, replicas = 0;
};

struct SweepPoint {
  bool trained;        // quantization-aware; else the base as it is, evaluated with the format
  std::string curve;   // the format with % for its width; "none": the float control
  int width;           // 0: the format has none
  std::string format;  // with its width; scales may be open
  uint64_t seed;
  std::string part = {};  // the Linears that have the format, the others stay in float: a pattern; empty: all of them

  // "qat integer(width=8,frac=half) in encoder.layer.0.* seed 42": unique in the sweep
  std::string name() const;
  bool is_control() const { return curve == "none"; }
};

// What has a point's format: the whole model (""), or one layer, or one Linear, at a time, in their order.
std::vector<std::string> parts_of(const SweepOptions& options, const Bert& model);

// UserError: a format that no width fits, a width that is no number, no base to start from. The float control comes
// first. Without a base of its own, a seed has nothing to evaluate untrained that the first does not have too.
std::vector<SweepPoint> sweep_points(const SweepOptions& options, const std::vector<std::string>& parts = {""});

// One format a Linear.
OpenFormats formats_of(const SweepPoint& point, const SweepOptions& options, const Bert& model);

}  // namespace mpq
