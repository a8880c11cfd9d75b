// Quantizers of activations: whole launches, and the device function for kernels that have a row at hand.
#pragma once
#include "cuda/cuda_ops.h"
#include "cuda/tiles.cuh"
#include "quant/spec.h"

namespace mpq {

// Every copy, whatever its formats' reach: each sequence as if it were alone ([1, S, C]; with features_rank 2 each row
// as [1, C]).
void quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged, const Lane& lane);
// Only the formats that look over a sequence, for producers that made the other copies themselves.
void quantize_sequence_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged, const Lane& lane);
// A Linear's output format.
void quantize_in_place(const QuantSlot& slot, int rank, const Tensor& y, const Ragged& ragged, const Lane& lane);

__device__ __forceinline__ const QuantSpec& spec_of(const QuantSlot& slot, int replica) {
  return slot.specs[replica * slot.stride];
}
__device__ __forceinline__ const float* trained_of(const QuantSlot& slot, int replica) {
  return slot.trained ? slot.trained.f32(replica) : nullptr;
}
__device__ __forceinline__ bool within_row(const QuantSpec& spec) {
  return reach(spec, Role::activation) != Reach::sequence;
}

// One row of an activation by one full warp, for formats within_row. x was written by this warp, or is read-only; it
// may be xq; either may lie in global or shared memory. Afterwards the whole warp sees xq. Not inlined: one copy of all
// formats a kernel file, and no registers of theirs where a kernel does other things.
static __device__ __noinline__ void quantize_row(const QuantSpec& spec, int rank, const float* x, float* xq, int cols,
                                                 const float* trained) {
  __syncwarp();
  visit(spec, [&](const auto& format) {
    using F = std::remove_cvref_t<decltype(format)>;
    if constexpr (std::is_same_v<F, None>) {
      if (x != xq) map_row([](const auto& v) { return v; }, x, xq, cols);
    } else if constexpr (TileFormat<F>) {
      const QuantShape shape = rank == 3 ? QuantShape{3, {1, 1, cols}} : QuantShape{2, {1, cols, 1}};
      const Tiles tiles = format.tiles(Role::activation, shape);
      ZeroTiles zeros{false};
      quantize_row_tiles(TileRules<F>{format, tiles.fold, 1.0f}, static_cast<int>(tiles.tile_cols), x, xq, cols, zeros);
    } else if constexpr (TrainedFormat<F>) {
      map_row(chain(format.rule(trained), 1.0f), x, xq, cols);
    } else {
      map_row(chain(format.rule(), 1.0f), x, xq, cols);
    }
  });
  __syncwarp();
}

}  // namespace mpq
