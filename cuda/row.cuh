// A row in the registers of a warp, laid out as dropout draws it: of each group of 128 columns, lane l holds l % 16 +
// l / 16 * 64 + 16 i, i = 0 ... 3. So a lane makes one Philox call a group, a warp reads whole 64-byte segments, and no
// width of row needs a special case.
#pragma once
#include <type_traits>

#include "cuda/dropout.cuh"

namespace mpq {

constexpr int kWidestRow = 2048;

// run(std::integral_constant<int, G>{}): kernels are compiled for rows of up to G groups of 128 columns.
template <class Run>
void for_width(int64_t cols, Run run) {
  check(cols > 0 && cols <= kWidestRow, "rows of 1 to {} columns, not {}", kWidestRow, cols);
  if (cols <= 128) return run(std::integral_constant<int, 1>{});
  if (cols <= 256) return run(std::integral_constant<int, 2>{});
  if (cols <= 512) return run(std::integral_constant<int, 4>{});
  if (cols <= 1024) return run(std::integral_constant<int, 8>{});
  run(std::integral_constant<int, kWidestRow / 128>{});
}

#ifdef __CUDACC__

// visit(i, column) of what this lane holds; i is known at compile time.
template <int kGroups, class Visit>
__device__ __forceinline__ void for_columns(int cols, Visit visit) {
  const int first = lane_id() % 16 + lane_id() / 16 * 64;
#pragma unroll
  for (int i = 0; i < 4 * kGroups; ++i)
    if (const int column = i / 4 * 128 + i % 4 * 16 + first; column < cols) visit(i, column);
}

// Of the four columns that this lane holds of a group.
__device__ __forceinline__ void dropout_factors(const DropoutKey& key, int group, int position, int sequence,
                                                float (&factors)[4]) {
  const bool upper = lane_id() >= 16;  // the halves of words 2 and 3
  const Philox all = dropout_bits(key, group, lane_id() % 16, position, sequence);
  const Philox mine{{upper ? all.word[2] : all.word[0], upper ? all.word[3] : all.word[1]}};
#pragma unroll
  for (int i = 0; i < 4; ++i) factors[i] = dropout_factor(key, mine, i);
}

template <int kGroups>
struct Row {
  float value[4 * kGroups];  // zero beyond the last column

  __device__ __forceinline__ void load(const float* from, int cols) {
#pragma unroll
    for (float& v : value) v = 0;
    for_columns<kGroups>(cols, [&](int i, int column) { value[i] = from[column]; });
  }
  __device__ __forceinline__ void store(float* to, int cols) const {
    for_columns<kGroups>(cols, [&](int i, int column) { to[column] = value[i]; });
  }
  __device__ __forceinline__ void drop(const DropoutKey& key, int cols, int position, int sequence) {
    if (!key.on) return;
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      if (group * 128 >= cols) break;
      float factors[4];
      dropout_factors(key, group, position, sequence, factors);
#pragma unroll
      for (int i = 0; i < 4; ++i) value[group * 4 + i] *= factors[i];
    }
  }
};

// place_of by a whole warp: one load a lane for up to 32 sequences, two for up to 1,024.
__device__ __forceinline__ RowPlace warp_place_of(const Ragged& ragged, int row) {
  int low = 0, span = ragged.sequences;
  while (true) {
    const int step = (span + kWarp - 1) / kWarp, b = low + lane_id() * step;
    const int start = b < low + span ? ragged.starts[b] : row + 1;
    const int lane = __popc(__ballot_sync(kAllLanes, start <= row)) - 1;  // starts[low] <= row
    const int end = low + span;
    low += lane * step;
    span = min(step, end - low);
    if (span <= 1) return {low, row - __shfl_sync(kAllLanes, start, lane)};
  }
}

#endif

}  // namespace mpq
