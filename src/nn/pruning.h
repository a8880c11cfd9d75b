// Pruning of a model: which Linears, how, and the masks of their weights.
#pragma once
#include <string>
#include <vector>

#include "nn/bert.h"
#include "quant/prune_spec.h"

namespace mpq {

// What one replica prunes. Embeddings, LayerNorms and biases are never pruned.
struct Pruning {
  PruneSpec weights, activations;
  std::vector<bool> linears = {};  // which, by Linear::index; empty: all of them
  uint64_t seed = 42;              // of what is random

  bool covers(const Linear& linear) const { return linears.empty() || linears[linear.index]; }
  explicit operator bool() const { return weights || activations; }
  bool operator==(const Pruning&) const = default;
};
// "weights l1(...) activations none linears a,b seed 42"; empty where nothing is pruned. Equal texts: equal pruning.
std::string to_text(const Pruning& pruning, const Bert& model);

// One byte a weight [N * K], by Linear::index: 1 stays, 0 is pruned for good. Empty for a Linear that is not pruned; no
// entries at all where no weight is.
using WeightMasks = std::vector<std::vector<uint8_t>>;

// The masks that `pruning` asks for on these weights (by Linear::index; those of other Linears may be empty). Random
// ones are drawn by the seed, the Linear's name and the element. UserError: a pattern n:m that does not divide a
// Linear's inputs.
WeightMasks draw_masks(const Bert& model, const Pruning& pruning, const std::vector<std::vector<float>>& weights);

// Pruned weights in both stay pruned.
void intersect(WeightMasks& masks, const WeightMasks& others);

}  // namespace mpq
