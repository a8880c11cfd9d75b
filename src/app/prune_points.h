// The points of mpq prune: every method at every sparsity, before and after fine-tuning, for every seed.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "app/format_options.h"
#include "app/options.h"
#include "nn/pruning.h"

namespace mpq {

struct PruneOptions {
  DataArgs data;
  TrainArgs train{.epochs = 5};
  FormatArgs formats;
  MachineArgs machine;
  std::string sparsities = "0.5", methods = "l1", pattern, scope = "local", activation_scope = "row", out;
  std::vector<std::string> linears;  // names or patterns; empty: all
  bool weights = false, activations = false, control = false;
  int seeds = 1, replicas = 0;

  void add_to(CommandLine& line);
  bool tunes() const { return train.epochs > 0; }
  // Weights and activations, unless one of them is asked for alone.
  bool prunes_weights() const { return weights || !activations; }
  bool prunes_activations() const { return activations || !weights; }
};

struct PrunePoint {
  bool tuned;          // fine-tuned after pruning; else as pruned
  PruneMethod method;  // none: the dense control
  float sparsity;
  uint64_t seed;

  bool is_control() const { return method == PruneMethod::none; }
  std::string name() const;  // "l1 0.5 fine-tuned seed 42": unique among the points
};

// The dense base comes first; as a control it is trained too beside several points, or where asked for. UserError: a
// sparsity outside [0, 1), an unknown method, a value twice, nothing to start from.
std::vector<PrunePoint> prune_points(const PruneOptions& options);
// Whether one model is asked for (and kept); else numbers are.
bool is_single(const std::vector<PrunePoint>& points);

// UserError: a pattern without a Linear.
Pruning pruning_of(const PrunePoint& point, const PruneOptions& options, const Bert& model);

}  // namespace mpq
