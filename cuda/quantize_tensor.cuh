// One whole tensor quantized by one or several blocks, in one pass over it (after its surveys, cuda/survey.cuh).
#pragma once
#include "cuda/survey.cuh"
#include "cuda/tiles.cuh"

namespace mpq {

constexpr int kQuantizeThreads = 256;
constexpr int kQuantizeBlocks = 3;                     // a multiprocessor should hold
constexpr int kRowsAtOnce = kQuantizeThreads / kWarp;  // of a block: a warp each

struct Part {
  int index, count;    // this block, and how many share the tensor; at most 32,768
  uint32_t* counters;  // [2] of the tensor, zero before and after; unused where count is 1
  Survey survey;       // of the tensor, where its format asks for one
};

// Which rows of a tensor are to be quantized, where its format looks no further than a row: all, or those listed.
struct RowList {
  const int32_t *rows = nullptr, *count = nullptr;
  __device__ int size(int all) const { return rows ? *count : all; }
  __device__ int operator[](int i) const { return rows ? rows[i] : i; }
};

// The bits of what all-zero tiles are filled with, or 0 where this block has nothing to fill: only the block that is
// last to finish knows the smallest maximum of the tensor, and it fills all of it. The whole block calls this once.
static __device__ uint32_t fill_when_last(const ZeroTiles& mine, const Part& part) {
  __shared__ uint32_t least, waiting;
  if (threadIdx.x == 0) least = ~0u, waiting = 0;
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

struct JoinBlock {
  template <class Parts>
  __device__ void operator()(Parts& parts, int) const {
    __shared__ Parts of_warp[kRowsAtOnce];
    join_lanes(parts, kWarp);
    if (lane_id() == 0) of_warp[warp_id()] = parts;
    __syncthreads();
    for (int w = 0; w < kRowsAtOnce; ++w) parts.join(of_warp[w]);
    __syncthreads();
  }
};

// Tiles over rows: small ones by a few lanes each, large ones by the block.
template <class F, class Factor>
__device__ void quantize_block_tiles(const TileRules<F, Factor>& rules, const TileMap& map, const Part& part,
                                     const float* x, float* y, ZeroTiles& zeros) {
  const int thread = static_cast<int>(threadIdx.x);
  if (map.tile_size() > 1024) {
    const Team team{kQuantizeThreads, part.index, part.count, 0, thread};
    quantize_tiles(rules, map, team, x, y, zeros, JoinBlock{});
  } else {
    const int size = lanes_for(map.tile_size()), groups = kQuantizeThreads / size;
    const Team team{size, part.index * groups, part.count * groups, thread / size, thread % size};
    quantize_tiles(rules, map, team, x, y, zeros, JoinLanes{});
  }
}

// body(offset, values) for this warp's rows, tiles of `width` columns. Rows side by side in memory are one long row
// where their tiles are its tiles too: so a warp has as much under way with short rows as with long ones.
template <class Body>
__device__ void for_rows_of(const Part& part, const RowList& list, int rows, int cols, int width, const Body& body) {
  const int warps = part.count * kRowsAtOnce, warp = part.index * kRowsAtOnce + warp_id();
  const bool apart = list.rows || cols % width != 0;
  const int together = apart ? 1 : max(1, min(RowFours::kValues / cols, (rows + warps - 1) / warps));
  const int all = list.size(rows);
#pragma unroll 1
  for (int row = warp * together; row < all; row += warps * together)
    body(int64_t{list[row]} * cols, min(together, all - row) * cols);
}

// A tensor whose format asks for a statistic of all of it: then tiles of rows, or nothing but the rule it gives.
template <class F, class Factor, class ForRows>
__device__ void quantize_surveyed(TileRules<F, Factor> rules, int width, int64_t size, const Part& part, const float* x,
                                  float* y, const ForRows& for_rows) {
  const auto value = surveyed<WidestStatistic<F>>(part.survey, size);
  if constexpr (AsksForTensor<F>) {
    rules.tensor = value;
    ZeroTiles zeros{false};
    for_rows(width, [&](int64_t at, int values) { quantize_row_tiles(rules, width, x + at, y + at, values, zeros); });
  } else {
    const auto map = rules.chain_of(value);
    for_rows(1, [&](int64_t at, int values) { map_row(map, x + at, y + at, values); });
  }
}

// y = quantized x times factor for a tensor of that shape as MASE sees it, of less than 2^31 values; y may be x. Blocks
// of kQuantizeThreads; all the tensor's blocks call it with the same arguments but part.index.
static __device__ __forceinline__ void quantize_tensor(const QuantSpec& spec, Role role, const QuantShape& shape,
                                                       const float* trained, float factor, const float* x, float* y,
                                                       const Part& part, const RowList& list = {}) {
  const int cols = static_cast<int>(shape.cols());
  const int rows = cols == 0 ? 0 : static_cast<int>(shape.size() / cols);
  if (rows == 0) return;
  const auto for_rows = [&](int width, const auto& body) { for_rows_of(part, list, rows, cols, width, body); };
  visit(spec, [&](const auto& format) {
    using F = std::remove_cvref_t<decltype(format)>;
    if constexpr (TileFormat<F>) {
      const TileMap map(format.tiles(role, shape));
      const TileRules<F, float> rules{format, map.fold, factor};
      if constexpr (requires { format.over_tensor(); })
        if (format.over_tensor()) return quantize_surveyed(rules, map.tile_cols, shape.size(), part, x, y, for_rows);
      ZeroTiles zeros{FillsZeroTiles<F> && !list.rows};
      if (map.tile_rows == 1)
        for_rows(map.tile_cols, [&](int64_t at, int values) {
          quantize_row_tiles(rules, map.tile_cols, x + at, y + at, values, zeros);
        });
      else if constexpr (!TileStatistic<F>::Parts::ordered)
        quantize_block_tiles(rules, map, part, x, y, zeros);
      if (!zeros.wait) return;
      if constexpr (FillsZeroTiles<F>)
        if (const uint32_t fill = fill_when_last(zeros, part))
          fill_waiting_zeros(rules.chain_of(from_bits(fill)), y, rows * cols, static_cast<int>(threadIdx.x),
                             kQuantizeThreads);
    } else {
      const auto map_all = [&](const auto& rule) {
        for_rows(1, [&](int64_t at, int values) { map_row(chain(rule, factor), x + at, y + at, values); });
      };
      if constexpr (TrainedFormat<F>)
        map_all(format.rule(trained));
      else
        map_all(format.rule());
    }
  });
}

}  // namespace mpq
