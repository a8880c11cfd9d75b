// Masks of pruned weights: drawn or taken over once, then applied to every gradient.
#include "train/session_memory.h"

namespace mpq {
namespace {

// The first dense_size() floats of a flat buffer.
Tensor dense_part(Tensor flat, const Tensor& mask) {
  flat.shape = mask.shape;
  return flat;
}

}  // namespace

void Session::prune(int replica) {
  const Pruning& pruning = replicas_[replica].pruning;
  std::vector<std::vector<float>> weights(model_.linears().size());
  for (const Linear* linear : model_.linears())
    if (pruning.covers(*linear)) weights[linear->index] = get(replica, *linear->weight);
  WeightMasks masks = draw_masks(model_, pruning, weights);
  intersect(masks, masks_[replica]);
  set_masks(replica, masks);
}

void Session::set_masks(int replica, const WeightMasks& masks) {
  Memory& m = *memory_;
  if (masks.empty()) return;
  check(bool(m.mask) && masks.size() == model_.linears().size(), "masks for {} Linears", masks.size());
  for (const Linear* linear : model_.linears()) {
    const std::vector<uint8_t>& mask = masks[linear->index];
    if (mask.empty()) continue;
    const auto size = static_cast<size_t>(linear->weight->shape.size());
    check(mask.size() == size, "a mask of {} for {} weights", mask.size(), size);
    const std::vector<float> values(mask.begin(), mask.end());
    device_.copy_in(view(m.mask, *linear->weight).f32(replica), values.data(), size * sizeof(float));
  }
  for (const Tensor& flat : {m.tensors.values, m.m, m.v})
    if (flat) device_.ops().apply_mask(m.mask, dense_part(flat, m.mask));
  masks_[replica] = masks;
  weights_ready_ = false;
  if (partner_) partner_->set_masks(replica, masks);
}

void Session::mask(const Tensor& flat) {
  const Tensor& mask = memory_->mask;
  if (mask && flat) device_.ops().apply_mask(mask, dense_part(flat, mask));
}

}  // namespace mpq
