// --calibrate and --calibration-rows: how scales that formats leave open (frac=auto) are chosen.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "app/command_line.h"
#include "data/dataset.h"
#include "train/calibration.h"

namespace mpq {

using OpenFormats = std::vector<OpenLinear>;    // nn/model_formats.h
using ClosedFormats = std::vector<LinearSpec>;  // the same

struct CalibrationArgs {
  std::string rule = "mse";
  int rows = 32;

  void add_to(CommandLine& line);
  // Closes lists of formats on rows of the training split `train`. `start` gives a session its weights. Without an open
  // format nothing runs.
  std::vector<ClosedFormats> close(const std::vector<OpenFormats>& formats, Device& device, const Bert& model,
                                   int max_tokens, const Split& train, uint64_t seed,
                                   const std::function<void(Session&)>& start) const;
  std::string in_recipe() const { return " calibrate " + rule + " rows " + std::to_string(rows); }
};

}  // namespace mpq
