// Scales that formats leave open, chosen before anything runs: weights, biases and tables by their values, inputs by
// what the Linears read of some training rows, in float.
#pragma once
#include "quant/fit.h"
#include "train/session.h"

namespace mpq {

// One closed list of formats (a format a Linear) for each open one. `session` has one replica, without formats, and
// holds the weights; a row of the batch is a calibration row. The same on any number of threads.
std::vector<std::vector<LinearSpec>> calibrate(Session& session, const Batch& rows,
                                               const std::vector<std::vector<OpenLinear>>& formats, FitRule rule);

// `count` rows of the split, evenly spaced (all of them if it has fewer): files tend to be sorted by label.
Batch calibration_rows(const Split& split, int64_t count);

}  // namespace mpq
