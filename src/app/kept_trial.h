// The state of a trial that runs, in its folder: what a killed search goes on from, bit for bit.
#pragma once
#include <optional>

#include "app/trial.h"

namespace mpq {

struct KeptTrial {
  Checkpoint weights;
  TrainingState state;
};

// Nothing where there is none. A damaged one, or one of another trial, costs time and nothing else: a warning.
std::optional<KeptTrial> read_kept(const TrialSetting& setting, const TrialJob& job);

// Adds the optimizer's part to `state` while it writes.
void write_kept(const TrialSetting& setting, const TrialJob& job, Session& session, int replica, TrainingState& state);

}  // namespace mpq
