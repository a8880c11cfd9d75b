// Quantizers of activations: whole launches, and the device function for kernels that have a row at hand.
#pragma once
#include "cuda/cuda_ops.h"
#include "cuda/row.cuh"
#include "cuda/tiles.cuh"
#include "quant/spec.h"

namespace mpq {

// Every copy, whatever its formats' reach: each sequence as if it were alone ([1, S, C]; with features_rank 2 each row
// as [1, C]).
void quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged, const Lane& lane);
// Only what quantize_row_copy leaves out, for producers that make the other copies themselves.
void quantize_sequence_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged, const Lane& lane);
// For quantize_row_copy: counters of every sequence, where a format takes a minimum over all tiles of a sequence and the
// lane can count that many; else null.
uint32_t* sequence_counters(const QuantizedCopies& copies, const Ragged& ragged, const Lane& lane);
// A Linear's output format.
void quantize_in_place(const QuantSlot& slot, int rank, const Tensor& y, const Ragged& ragged, const Lane& lane);

__device__ __forceinline__ const QuantSpec& spec_of(const QuantSlot& slot, int replica) {
  return slot.specs[replica * slot.stride];
}
__device__ __forceinline__ const float* trained_of(const QuantSlot& slot, int replica) {
  return slot.trained ? slot.trained.f32(replica) : nullptr;
}
__device__ __forceinline__ QuantShape one_row(int rank, int cols) {
  return rank == 3 ? QuantShape{3, {1, 1, cols}} : QuantShape{2, {1, cols, 1}};
}
__device__ __forceinline__ bool looks_over_sequence(const QuantSpec& spec) {
  return reach(spec, Role::activation) == Reach::sequence;
}
// Whether warps that have a row each can quantize a sequence. `counted`: they can find a minimum over all of its rows.
__device__ __forceinline__ bool row_by_row(const QuantSpec& spec, int rank, bool counted) {
  return rank == 2 || (counted ? tile_reach(spec) : reach(spec, Role::activation)) != Reach::sequence;
}

// One row of an activation by one full warp, for formats row_by_row. x was written by this warp, or is read-only; it
// may be xq; either may lie in global or shared memory. Afterwards the whole warp sees xq; all-zero tiles wait where the
// format fills them. Not inlined: one copy of all formats a kernel file, and no registers of theirs where a kernel does
// other things.
static __device__ __noinline__ ZeroTiles quantize_row(const QuantSpec& spec, int rank, const float* x, float* xq,
                                                      int cols, const float* trained) {
  ZeroTiles zeros{false};
  __syncwarp();
  visit(spec, [&](const auto& format) {
    using F = std::remove_cvref_t<decltype(format)>;
    if constexpr (std::is_same_v<F, None>) {
      if (x != xq) map_row([](const auto& v) { return v; }, x, xq, cols);
    } else if constexpr (TileFormat<F>) {
      const Tiles tiles = format.tiles(Role::activation, one_row(rank, cols));
      zeros.wait = F::fill_zero_tiles;
      quantize_row_tiles(format, static_cast<int>(tiles.tile_cols), tiles.fold, 1.0f, x, xq, cols, zeros);
    } else if constexpr (TrainedFormat<F>) {
      map_row(chain(format.rule(trained), 1.0f), x, xq, cols);
    } else {
      map_row(chain(format.rule(), 1.0f), x, xq, cols);
    }
  });
  __syncwarp();
  return zeros;
}

// After quantize_row of a row of y, by the same warp: the last of a sequence's rows fills what waits in all of them.
// counters: of the sequence; unused for one row.
static __device__ __noinline__ void fill_zero_tiles(const QuantSpec& spec, int rank, const ZeroTiles& mine, float* y,
                                                    int rows, int cols, uint32_t* counters) {
  uint32_t least = __reduce_min_sync(kAllLanes, mine.least), waiting = __any_sync(kAllLanes, mine.waiting) ? 1 : 0;
  if (rows > 1) {
    __threadfence();  // this lane's values, before the row counts itself
    __syncwarp();
    if (lane_id() == 0) share_zero_tiles(least, waiting, rows, counters);
    __syncwarp();
    least = __shfl_sync(kAllLanes, least, 0), waiting = __shfl_sync(kAllLanes, waiting, 0);
  }
  if (!waiting) return;
  visit(spec, [&](const auto& format) {
    using F = std::remove_cvref_t<decltype(format)>;
    if constexpr (TileFormat<F>) {
      if constexpr (F::fill_zero_tiles) {
        const bool fold = format.tiles(Role::activation, one_row(rank, cols)).fold;
        fill_waiting_zeros(tile_chain(format, 0, zero_fill(least), fold, 1.0f), y, rows * cols, lane_id(), kWarp);
      }
    }
  });
}

// Row `row` of copy i of x [rows, cols] by one warp, if its format is row_by_row. counters: sequence_counters.
static __device__ __forceinline__ void quantize_row_copy(const QuantizedCopies& copies, int i, const float* x,
                                                         int replica, int row, int cols, const Ragged& ragged,
                                                         uint32_t* counters) {
  const QuantizedCopy& copy = copies.copy[i];
  const QuantSpec& spec = spec_of(copy.slot, replica);
  const int rank = copies.features_rank;
  const int64_t at = int64_t{row} * cols;
  float* xq = copy.xq.f32(replica);
  if (copy.whole && looks_over_sequence(spec)) {
    const float* first = copy.whole.xq.f32(replica) + int64_t{copy.whole.starts[row]} * cols;
    return map_row([](const auto& v) { return v; }, first, xq + at, cols);
  }
  if (!row_by_row(spec, rank, counters != nullptr)) return;
  const ZeroTiles zeros = quantize_row(spec, rank, x + at, xq + at, cols, trained_of(copy.slot, replica));
  if (!zeros.wait) return;
  if (rank == 2) return fill_zero_tiles(spec, rank, zeros, xq + at, 1, cols, nullptr);
  const int sequence = warp_place_of(ragged, row).sequence, first = ragged.starts[sequence];
  fill_zero_tiles(spec, rank, zeros, xq + int64_t{first} * cols, ragged.starts[sequence + 1] - first, cols,
                  counters + 2 * ((replica * copies.count + i) * ragged.sequences + sequence));
}

}  // namespace mpq
