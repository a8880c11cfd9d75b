// Operations that do nothing. A pass over them tells how much memory it takes (with a measuring Arena), or, where a
// subclass listens, what it is made of.
#pragma once
#include "tensor/device.h"

namespace mpq {

class DryOps : public Ops {
 public:
  void quantize_weights(const QuantizeWeights&) override {}
  void quantize_weights_grad(const QuantizeWeights&) override {}
  void quantize_grad(const QuantizeGrad&) override {}
  void embed(const Embed&) override {}
  void embed_grad(const EmbedGrad&) override {}
  void linear(std::span<const Linear1>) override {}
  void linear_grad(std::span<const Linear1Grad>) override {}
  void activate(const Linear1&) override {}
  void activate_grad(const Linear1Grad&) override {}
  void attention(const Attention&) override {}
  void attention_grad(const AttentionGrad&) override {}
  void residual_norm(const ResidualNorm&) override {}
  void residual_norm_grad(const ResidualNormGrad&) override {}
  void prune(std::span<const Prune>) override {}
  void prune_grad(std::span<const PruneGrad>) override {}
  void select_first(const SelectFirst&) override {}
  void select_first_grad(const SelectFirstGrad&) override {}
  void gather_rows(const GatherRows&) override {}
  void cross_entropy(const CrossEntropy&) override {}
  Tensor wide_cross_entropy(const WideCrossEntropy& op) override { return op.gradient ? op.logits : Tensor{}; }
  void clip_norm(const ClipNorm&) override {}
  void adamw(const AdamW&) override {}
  void adamw_rows(const AdamWRows&) override {}
  void quantize_copies(const QuantizedCopies&, const Tensor&, const Ragged&) override {}
  bool need_whole(const NeedWhole&) override { return true; }
  void add(const Tensor&, const Tensor&) override {}
  void fill(const Tensor&, float) override {}
  void apply_mask(const Tensor&, const Tensor&) override {}
  void scatter_rows(const ScatterRows&) override {}
  void prepare_batches(const PrepareBatches&) override {}
  size_t prepare_scratch(int64_t) override { return 0; }
  void load_batch(const LoadBatch&) override {}
  void end_step(const EndStep&) override {}
};

// One that listens to nothing.
Ops& dry_ops();

}  // namespace mpq
