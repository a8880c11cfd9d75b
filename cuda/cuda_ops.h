// The operations of one GPU: each enqueues its kernels and returns. Kernel files implement a group of them each, like
// kernels/. Nothing here waits for the device or allocates: every call may be recorded into a graph.
#pragma once
#include <cuda_runtime.h>

#include <memory>
#include <string>

#include "tensor/device.h"
#include "tensor/ops.h"

namespace mpq {

// A stream with scratch memory of its own: what an operation leaves there is gone when the next one on it starts.
// `counters` are zero between operations: who counts there leaves zeros.
struct Lane {
  cudaStream_t stream = nullptr;
  std::byte* scratch = nullptr;
  size_t scratch_bytes = 0;
  uint32_t* counters = nullptr;  // [kCounters]
  static constexpr int kCounters = 1 << 16;

  template <class T>
  T* scratch_as() const {
    return reinterpret_cast<T*>(scratch);
  }
};

class WideLinears;  // cuda/linear_wide.h

class CudaOps final : public Ops {
 public:
  CudaOps(Lane main, Lane side, Precision precision);
  ~CudaOps() override;

  void quantize_weights(const QuantizeWeights&) override;
  void quantize_weights_grad(const QuantizeWeights&) override;
  void quantize_grad(const QuantizeGrad&) override;
  void quantize_copies(const QuantizedCopies&, const Tensor&, const Ragged&) override;
  bool need_whole(const NeedWhole&) override;
  void embed(const Embed&) override;
  void embed_grad(const EmbedGrad&) override;
  void linear(std::span<const Linear1>) override;
  void linear_grad(std::span<const Linear1Grad>) override;
  void activate(const Linear1&) override;
  void activate_grad(const Linear1Grad&) override;
  void attention(const Attention&) override;
  void attention_grad(const AttentionGrad&) override;
  void residual_norm(const ResidualNorm&) override;
  void residual_norm_grad(const ResidualNormGrad&) override;
  void prune(std::span<const Prune>) override;
  void prune_grad(std::span<const PruneGrad>) override;
  void select_first(const SelectFirst&) override;
  void select_first_grad(const SelectFirstGrad&) override;
  void gather_rows(const GatherRows&) override;
  void cross_entropy(const CrossEntropy&) override;
  Tensor wide_cross_entropy(const WideCrossEntropy&) override;
  void clip_norm(const ClipNorm&) override;
  void adamw(const AdamW&) override;
  void adamw_rows(const AdamWRows&) override;
  void add(const Tensor&, const Tensor&) override;
  void fill(const Tensor&, float) override;
  void apply_mask(const Tensor&, const Tensor&) override;
  void scatter_rows(const ScatterRows&) override;
  void prepare_batches(const PrepareBatches&) override;
  size_t prepare_scratch(int64_t tokens) override;
  void load_batch(const LoadBatch&) override;
  void end_step(const EndStep&) override;

  // What runs beside the main chain of a step: quantized weights beside the embeddings; gradients of weights, biases,
  // LayerNorm parameters and of what formats train, which nobody needs before the norm of all gradients. fork: the side
  // lane sees all that main has been asked for so far. join: main sees all that the side lane has been asked for;
  // linear, clip_norm, scatter_rows, end_step and every copy begin with it.
  const Lane& fork();
  void join();

  // Who multiplies for wide Linears, once one was met.
  const std::string& wide_products() const;

  // Kernels here may wait for another GPU's (cuda/exchange.cu). Loading a kernel may wait for the whole device, with a
  // lock that the other GPU's thread needs: so records are then made while the device is idle.
  bool waits_for_others = false;

 private:
  Lane main_, side_;
  Precision precision_;
  std::unique_ptr<WideLinears> wide_;
  bool forked_ = false;
  cudaEvent_t event_ = nullptr;
};

}  // namespace mpq
