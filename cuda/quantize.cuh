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
// For quantize_row_copy: counters of every sequence, where a format takes a minimum over all tiles of a sequence and
// the lane can count that many; else null.
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
__device__ __forceinline__ Reach reach(const QuantSlot& slot, int replica) {
  return reach(spec_of(slot, replica), Role::activation);
}
// Whether a minimum over all tiles of a sequence shows in what its tiles of zeros become.
__device__ __forceinline__ bool fills_zero_tiles(const QuantSpec& spec) { return filled_tile_width(spec, 1) > 0; }
// Whether warps that have a row each can quantize a sequence. `counted`: they can find a minimum over all of its rows.
__device__ __forceinline__ bool row_by_row(const QuantSpec& spec, int rank, bool counted) {
  return rank == 2 || (counted ? tile_reach(spec) : reach(spec, Role::activation)) != Reach::sequence;
}

// The rows of an activation that one format sees together, and who of them has come: counters [2], zero before and
// after; unused for one row. Or one row, and what to take instead of it if it has a tile of zeros.
struct RowsTogether {
  float* xq = nullptr;
  int rows = 0;
  uint32_t* counters = nullptr;
  const float* instead = nullptr;
};

// For the warps that quantize a row each: the smallest maximum of all rows, and whether this warp is to fill what
// waits.
__device__ __forceinline__ bool last_to_fill(const ZeroTiles& mine, const RowsTogether& all, uint32_t& least) {
  uint32_t waiting = __any_sync(kAllLanes, mine.waiting) ? 1 : 0;
  least = __reduce_min_sync(kAllLanes, mine.least);
  if (all.rows > 1) {
    __syncwarp();  // this row's values, before it counts itself
    if (lane_id() == 0) share_zero_tiles(least, waiting, all.rows, all.counters);
    least = __shfl_sync(kAllLanes, least, 0), waiting = __shfl_sync(kAllLanes, waiting, 0);
  }
  __syncwarp();
  return waiting != 0;
}

// Of formats that look at one value at a time. Not inlined, as quantize_row.
static __device__ __noinline__ float4 quantize_elements(const QuantSpec& spec, const float* trained, float4 x) {
  return visit(spec, [&](const auto& format) {
    using F = std::remove_cvref_t<decltype(format)>;
    if constexpr (TileFormat<F> || std::is_same_v<F, None>)
      return x;
    else if constexpr (TrainedFormat<F>)
      return chain(format.rule(trained), Nothing{})(x);
    else
      return chain(format.rule(), Nothing{})(x);
  });
}
__device__ __forceinline__ float4 quantize_elements(const QuantSlot& slot, int replica, float4 x) {
  return quantize_elements(spec_of(slot, replica), trained_of(slot, replica), x);
}

static __device__ __noinline__ void copy_row(const float* from, float* to, int cols) {
  map_row([](const auto& v) { return v; }, from, to, cols);
}

// One row of an activation by one full warp, for formats row_by_row; `all`: for those that fill zero tiles. x was
// written by this warp, or is read-only; it may be xq; either may lie in global or shared memory. Afterwards the whole
// warp sees xq. Not inlined: one copy of all formats a kernel, and no registers of theirs where a kernel does other
// things.
static __device__ __noinline__ void quantize_row(const QuantSpec& spec, int rank, const float* x, float* xq, int cols,
                                                 const float* trained, const RowsTogether& all) {
  __syncwarp();
  visit(spec, [&](const auto& format) {
    using F = std::remove_cvref_t<decltype(format)>;
    if constexpr (std::is_same_v<F, None>) {
      if (x != xq) map_row([](const auto& v) { return v; }, x, xq, cols);
    } else if constexpr (TileFormat<F>) {
      const Tiles tiles = format.tiles(Role::activation, one_row(rank, cols));
      TileRules<F, Nothing> rules{format, tiles.fold, {}};
      if constexpr (AsksForTensor<F>)
        if (over_tensor(format)) rules.tensor = warp_statistic<TensorStatistic<F>>(x, cols);  // the row is all of it
      __syncwarp();
      ZeroTiles zeros{FillsZeroTiles<F> && all.rows > 0};
      quantize_row_tiles(rules, static_cast<int>(tiles.tile_cols), x, xq, cols, zeros);
      if (!zeros.wait) return;
      if constexpr (FillsZeroTiles<F>)
        if (uint32_t least; last_to_fill(zeros, all, least)) {
          if (all.instead) return copy_row(all.instead, xq, cols);
          fill_waiting_zeros(rules.chain_of(from_bits(zero_fill(least))), all.xq, all.rows * cols, lane_id(), kWarp);
        }
    } else if constexpr (TrainedFormat<F>) {
      map_row(chain(format.rule(trained), Nothing{}), x, xq, cols);
    } else {
      map_row(chain(format.rule(), Nothing{}), x, xq, cols);
    }
  });
  __syncwarp();
}

// Of a format that fills zero tiles: one row, or all of its sequence's.
__device__ __forceinline__ RowsTogether rows_together(const QuantizedCopies& copies, int i, int replica, int row,
                                                      int cols, const Ragged& ragged, uint32_t* counters) {
  float* xq = copies.copy[i].xq.f32(replica);
  if (copies.features_rank == 2) return {xq + int64_t{row} * cols, 1, nullptr};
  const int sequence = warp_place_of(ragged, row).sequence, first = ragged.starts[sequence];
  return {xq + int64_t{first} * cols, ragged.starts[sequence + 1] - first,
          counters + 2 * ((replica * copies.count + i) * ragged.sequences + sequence)};
}

// Row `row` of copy i of x [rows, cols] by one warp, if its format, which reaches that far, is row_by_row. counters:
// sequence_counters.
static __device__ __forceinline__ void quantize_row_copy(const QuantizedCopies& copies, int i, Reach far,
                                                         const float* x, int replica, int row, int cols,
                                                         const Ragged& ragged, uint32_t* counters) {
  const QuantizedCopy& copy = copies.copy[i];
  const QuantSpec& spec = spec_of(copy.slot, replica);
  const int rank = copies.features_rank;
  const int64_t at = int64_t{row} * cols;
  float* xq = copy.xq.f32(replica);
  RowsTogether all;
  if (far == Reach::sequence) {
    const bool by_row = row_by_row(spec, rank, counters || copy.whole);
    if (copy.whole) {
      const float* instead = copy.whole.xq.f32(replica) + int64_t{copy.whole.starts[row]} * cols;
      if (!by_row) return copy_row(instead, xq + at, cols);
      all = {xq + at, 1, nullptr, instead};
    } else {
      if (!by_row) return;
      if (fills_zero_tiles(spec)) all = rows_together(copies, i, replica, row, cols, ragged, counters);
    }
  }
  quantize_row(spec, rank, x + at, xq + at, cols, trained_of(copy.slot, replica), all);
}

}  // namespace mpq
