// One whole tensor quantized by one or several blocks, in one pass over it.
#pragma once
#include "cuda/tiles.cuh"

namespace mpq {

constexpr int kQuantizeThreads = 256;
constexpr int kRowsAtOnce = kQuantizeThreads / kWarp;  // of a block: a warp each

struct Part {
  int index, count;    // this block, and how many share the tensor; at most 32,768
  uint32_t* counters;  // [2] of the tensor, zero before and after; unused where count is 1
};

// The bits of what all-zero tiles are filled with, or 0 where this block has nothing to fill: only the block that is
// last to finish knows the smallest maximum of the tensor, and it fills all of it. The whole block calls this once.
static __device__ uint32_t fill_when_last(const ZeroTiles& mine, const Part& part) {
  __shared__ uint32_t least, waiting;
  if (threadIdx.x == 0) least = ~0u, waiting = 0;
  __threadfence();  // this block's values, before it counts itself
  __syncthreads();
  const uint32_t warp_least = __reduce_min_sync(kAllLanes, mine.least);
  const bool warp_waiting = __any_sync(kAllLanes, mine.waiting);
  if (lane_id() == 0) {
    atomicMin(&least, warp_least);
    if (warp_waiting) atomicOr(&waiting, 1u);
  }
  __syncthreads();
  if (part.count > 1) {
    if (threadIdx.x == 0) share_zero_tiles(least, waiting, part.count, part.counters);
    __syncthreads();
  }
  return waiting ? zero_fill(least) : 0;
}

__device__ __forceinline__ uint32_t block_max(uint32_t bits, int) {
  __shared__ uint32_t of_warp[kRowsAtOnce];
  bits = __reduce_max_sync(kAllLanes, bits);
  if (lane_id() == 0) of_warp[threadIdx.x / kWarp] = bits;
  __syncthreads();
  for (int w = 0; w < kRowsAtOnce; ++w) bits = larger(bits, of_warp[w]);
  __syncthreads();
  return bits;
}

// Tiles over rows: small ones by a few lanes each, large ones by the block.
template <class F>
__device__ void quantize_block_tiles(const F& format, const TileMap& map, const Part& part, float factor,
                                     const float* x, float* y, ZeroTiles& zeros) {
  const int thread = static_cast<int>(threadIdx.x);
  if (map.tile_size() > 1024) {
    const Team team{kQuantizeThreads, part.index, part.count, 0, thread};
    quantize_tiles(format, map, team, factor, x, y, zeros, block_max);
  } else {
    const int size = lanes_for(map.tile_size()), groups = kQuantizeThreads / size;
    const Team team{size, part.index * groups, part.count * groups, thread / size, thread % size};
    quantize_tiles(format, map, team, factor, x, y, zeros, lanes_max);
  }
}

// body(row) for this warp's rows.
template <class Body>
__device__ void for_rows_of(const Part& part, int rows, const Body& body) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int row = part.index * kRowsAtOnce + warp; row < rows; row += part.count * kRowsAtOnce) body(row);
}

// y = quantized x times factor for a tensor of that shape as MASE sees it, of less than 2^31 values; y may be x. Blocks
// of kQuantizeThreads; all the tensor's blocks call it with the same arguments but part.index.
static __device__ void quantize_tensor(const QuantSpec& spec, Role role, const QuantShape& shape, const float* trained,
                                       float factor, const float* x, float* y, const Part& part) {
  const int cols = static_cast<int>(shape.d[shape.rank - 1]);
  const int rows = cols == 0 ? 0 : static_cast<int>(shape.size() / cols);
  if (rows == 0) return;
  const auto offset = [&](int row) { return static_cast<int64_t>(row) * cols; };
  visit(spec, [&](const auto& format) {
    using F = std::remove_cvref_t<decltype(format)>;
    if constexpr (TileFormat<F>) {
      const TileMap map(format.tiles(role, shape));
      ZeroTiles zeros{F::fill_zero_tiles};
      if (map.tile_rows == 1)
        for_rows_of(part, rows, [&](int row) {
          quantize_row_tiles(format, map.tile_cols, map.fold, factor, x + offset(row), y + offset(row), cols, zeros);
        });
      else
        quantize_block_tiles(format, map, part, factor, x, y, zeros);
      if (!zeros.wait) return;
      if (const uint32_t fill = fill_when_last(zeros, part))
        fill_waiting_zeros(tile_chain(format, 0, fill, map.fold, factor), y, rows * cols, static_cast<int>(threadIdx.x),
                           kQuantizeThreads);
    } else {
      const auto map_all = [&](const auto& rule) {
        for_rows_of(part, rows, [&](int row) { map_row(chain(rule, factor), x + offset(row), y + offset(row), cols); });
      };
      if constexpr (TrainedFormat<F>)
        map_all(format.rule(trained));
      else
        map_all(format.rule());
    }
  });
}

}  // namespace mpq
