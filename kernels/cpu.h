// The CPU backend's operations for one instruction set; each kernel file implements a group of them.
#pragma once
#include <cstdint>
#include <functional>

#include "base/parallel.h"
#include "tensor/ops.h"

namespace mpq {

// A buffer of at least `floats` floats, kept by the calling thread; a slot number tells apart buffers in use together.
float* thread_scratch(int slot, int64_t floats);

inline int64_t chunks(int64_t n, int64_t size) { return (n + size - 1) / size; }

// body(replica, first, last) over chunks of rows, in parallel.
inline void for_rows(int replicas, int64_t rows, int64_t chunk,
                     const std::function<void(int r, int64_t first, int64_t last)>& body) {
  const int64_t per_replica = chunks(rows, chunk);
  parallel_for(replicas * per_replica, [&](int64_t task) {
    const int64_t first = task % per_replica * chunk;
    body(static_cast<int>(task / per_replica), first, std::min(rows, first + chunk));
  });
}

// Walks rows first ... last - 1 of a ragged batch: visit(sequence, position, row).
template <class Visit>
void for_ragged_rows(const Ragged& ragged, int64_t first, int64_t last, Visit visit) {
  int32_t b = 0;
  for (int32_t step = ragged.sequences; step > 0; step /= 2)
    while (b + step < ragged.sequences && ragged.starts[b + step] <= first) b += step;
  for (int64_t row = first; row < last; ++row) {
    while (ragged.starts[b + 1] <= row) ++b;
    visit(b, static_cast<int32_t>(row - ragged.starts[b]), row);
  }
}

#define MPQ_DECLARE_CPU_OPS(isa)                                                         \
  namespace isa {                                                                        \
  class CpuOps final : public Ops {                                                      \
   public:                                                                               \
    void quantize_weights(const QuantizeWeights&) override;                              \
    void quantize_weights_grad(const QuantizeWeights&) override;                         \
    void quantize_grad(const QuantizeGrad&) override;                                    \
    void quantize_copies(const QuantizedCopies&, const Tensor&, const Ragged&) override; \
    bool need_whole(const NeedWhole&) override;                                          \
    void embed(const Embed&) override;                                                   \
    void embed_grad(const EmbedGrad&) override;                                          \
    void linear(std::span<const Linear1>) override;                                      \
    void linear_grad(std::span<const Linear1Grad>) override;                             \
    void activate(const Linear1&) override;                                              \
    void activate_grad(const Linear1Grad&) override;                                     \
    void attention(const Attention&) override;                                           \
    void attention_grad(const AttentionGrad&) override;                                  \
    void residual_norm(const ResidualNorm&) override;                                    \
    void residual_norm_grad(const ResidualNormGrad&) override;                           \
    void prune(std::span<const Prune>) override;                                         \
    void prune_grad(std::span<const PruneGrad>) override;                                \
    void select_first(const SelectFirst&) override;                                      \
    void select_first_grad(const SelectFirstGrad&) override;                             \
    void gather_rows(const GatherRows&) override;                                        \
    void cross_entropy(const CrossEntropy&) override;                                    \
    Tensor wide_cross_entropy(const WideCrossEntropy&) override;                         \
    void clip_norm(const ClipNorm&) override;                                            \
    void adamw(const AdamW&) override;                                                   \
    void adamw_rows(const AdamWRows&) override;                                          \
    void add(const Tensor&, const Tensor&) override;                                     \
    void fill(const Tensor&, float) override;                                            \
    void apply_mask(const Tensor&, const Tensor&) override;                              \
    void scatter_rows(const ScatterRows&) override;                                      \
    void prepare_batches(const PrepareBatches&) override;                                \
    size_t prepare_scratch(int64_t) override;                                            \
    void load_batch(const LoadBatch&) override;                                          \
    void end_step(const EndStep&) override;                                              \
  };                                                                                     \
  }
MPQ_DECLARE_CPU_OPS(avx2)
MPQ_DECLARE_CPU_OPS(avx512)
#undef MPQ_DECLARE_CPU_OPS

}  // namespace mpq
