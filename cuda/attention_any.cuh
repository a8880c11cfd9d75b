// Attention for heads of any width; attention_tile.cuh has the usual ones. A block of eight warps makes 16 rows, up to
// 64 columns wide, of one (replica, sequence, head): queries for context and dq, keys for dk and dv. The warps share
// out the rows it sums over, 16 at a time, read them from global memory right into fragments, and at the end add what
// each has in the order of the warps. Which rows a warp takes depends on the sequence alone: no bit depends on the rest
// of the batch.
#pragma once
#include "cuda/attention_head.cuh"
#include "cuda/attention_paths.cuh"
#include "cuda/tf32.cuh"

namespace mpq::attention {

constexpr int kTerms = 2;

constexpr int kWarps = 8, kThreads = kWarps * kWarp;
constexpr int kRows = 16, kColumns = 64;  // of a block's output; wider heads take several blocks (slices)
constexpr int kGroups = kColumns / 32;

// Where queries meet keys, the warps take 16 of every 128 keys each: first + {0 ... 3} + 16 {0 ... 3}, so that one call
// of the dropout's generator serves a lane's four.
constexpr int kKeysARound = 16 * kWarps;
__device__ __forceinline__ int first_key() { return warp_index() / 4 * 64 + warp_index() % 4 * 4; }
struct KeyColumns {
  int of_g[2];  // the key of column g of either fragment of scores
  int mine[4];  // the keys of the lane's columns: 2 t and 2 t + 1 of the first fragment, then of the second

  __device__ __forceinline__ explicit KeyColumns(int first) {
    const FragmentLane lane;
#pragma unroll
    for (int half = 0; half < 2; ++half) of_g[half] = first + lane.g / 2 + 16 * (2 * half + lane.g % 2);
#pragma unroll
    for (int i = 0; i < 4; ++i) mine[i] = first + lane.t + 16 * i;
  }
};

// ---- products ----
// Columns of a head are dealt to the steps of k so that a lane's share of 16 is 4 neighbours: k = t and t + 4 of both
// steps are columns 4 t ... 4 t + 3. Left and right agree, so the sum is over the same pairs.

using Scores = float[2][4];         // 16 rows, 16 columns: two fragments
using Sums = float[kGroups][4][4];  // 16 rows: [32 columns][column % 4][fragment]

HD int steps16(int width) { return (width + 15) / 16; }

// A block's own rows as left operand, in shared memory: [16 columns][step][term][lane].
template <int Terms>
HD size_t left_bytes(int width) {
  return size_t{2 * Terms * kWarp} * steps16(width) * sizeof(uint4);
}
// `upper` and `lower` are the rows g and g + 8 of the operand. Zeros beyond the last column.
template <int Terms, bool Vector>
__device__ __forceinline__ void stage_left(uint4* left, const HeadRows<Vector>& rows, int upper, int lower) {
  const FragmentLane lane;
#pragma unroll 1
  for (int step = warp_index(); step < steps16(rows.width); step += kWarps) {
    const float4 x = rows.load_or_zero(rows.row(upper), 16 * step + 4 * lane.t);
    const float4 y = rows.load_or_zero(rows.row(lower), 16 * step + 4 * lane.t);
    const LeftFragment<Terms> fragments[2] = {left_fragment<Terms>(x.x, y.x, x.y, y.y),
                                              left_fragment<Terms>(x.z, y.z, x.w, y.w)};
#pragma unroll
    for (int i = 0; i < 2 * Terms; ++i)
      left[(step * 2 * Terms + i) * kWarp + threadIdx.x % kWarp] = fragments[i / Terms].term[i % Terms];
  }
}

// s = left right^T; column n of the 16 is row[n / 8] of `right` for the lanes with g = n % 8. `visit` sees what the
// lane reads: (fragment, column, 4 values).
template <int Terms, bool Vector, class Visit>
__device__ __forceinline__ void scores(Scores& s, const uint4* left, const HeadRows<Vector>& right, const int (&row)[2],
                                       Visit visit) {
  const int steps = steps16(right.width);
  const FragmentLane lane;
  const float* from[2] = {right.row(row[0]), right.row(row[1])};
#pragma unroll
  for (int i = 0; i < 8; ++i) s[i / 4][i % 4] = 0;
#pragma unroll 4
  for (int64_t step = 0; step < steps; ++step) {
    LeftFragment<Terms> a[2];
#pragma unroll
    for (int i = 0; i < 2 * Terms; ++i)
      a[i / Terms].term[i % Terms] = left[(step * 2 * Terms + i) * kWarp + threadIdx.x % kWarp];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t column = 16 * step + 4 * lane.t;
      const float4 x = right.load(from[half], column);
      visit(half, column, x);
      const RightFragment<Terms> b[2] = {right_fragment<Terms>(x.x, x.y), right_fragment<Terms>(x.z, x.w)};
      multiply_add(s[half], a, b);
    }
  }
}
template <int Terms, bool Vector>
__device__ __forceinline__ void scores(Scores& s, const uint4* left, const HeadRows<Vector>& right,
                                       const int (&row)[2]) {
  scores<Terms>(s, left, right, row, [](int, int, float4) {});
}

// sums += p rows; the lane's columns of p are the rows row[i]. What lies in a fragment of scores is a left operand as
// it stands, if k = t is column 2 t and k = t + 4 column 2 t + 1.
template <int Terms, bool Vector>
__device__ __forceinline__ void add_products(Sums& sums, const Scores& p, const HeadRows<Vector>& rows,
                                             const int (&row)[4], int first_column) {
  const FragmentLane lane;
  const LeftFragment<Terms> a[2] = {left_fragment<Terms>(p[0][0], p[0][2], p[0][1], p[0][3]),
                                    left_fragment<Terms>(p[1][0], p[1][2], p[1][1], p[1][3])};
  const float* from[4] = {rows.row(row[0]), rows.row(row[1]), rows.row(row[2]), rows.row(row[3])};
#pragma unroll
  for (int group = 0; group < kGroups; ++group) {
    if (first_column + 32 * group >= rows.width) break;
    float4 x[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = rows.load(from[i], first_column + 32 * group + 4 * lane.g);
    const auto add = [&](int c, float4 v) {
      const RightFragment<Terms> b[2] = {right_fragment<Terms>(v.x, v.y), right_fragment<Terms>(v.z, v.w)};
      multiply_add(sums[group][c], a, b);
    };
    add(0, {x[0].x, x[1].x, x[2].x, x[3].x});
    add(1, {x[0].y, x[1].y, x[2].y, x[3].y});
    add(2, {x[0].z, x[1].z, x[2].z, x[3].z});
    add(3, {x[0].w, x[1].w, x[2].w, x[3].w});
  }
}

// ---- the sum over the warps ----

constexpr size_t kMergeBytes = size_t{kWarps} * kThreads * sizeof(float4);

// Writes the sum over the warps of weight(warp, row) * sums; `upper` and `lower` are rows g and g + 8. All threads call
// it; `merge` is shared memory that nobody uses any more.
template <bool Vector, class Weight>
__device__ __forceinline__ void merge_and_store(float4* merge, const Sums& sums, const HeadRows<Vector>& out, int upper,
                                                int lower, int first_column, Weight weight) {
  static_assert(kGroups * 4 == kWarps, "a warp sums one part");
  const int me = warp_index(), lane = static_cast<int>(threadIdx.x) % kWarp;
  __syncthreads();
#pragma unroll
  for (int part = 0; part < kWarps; ++part) {
    const auto& four = sums[part / 4];
    const int i = part % 4;  // row g + 8 (i / 2), columns 8 t + 4 (i % 2) and the next three
    merge[(me * kWarps + part) * kWarp + lane] = {four[0][i], four[1][i], four[2][i], four[3][i]};
  }
  __syncthreads();
  const int group = me / 4, i = me % 4;
  float4 total = {0, 0, 0, 0};
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    const float4 x = merge[(w * kWarps + me) * kWarp + lane];
    const float factor = weight(w, lane / 4 + 8 * (i / 2));
    total.x += factor * x.x, total.y += factor * x.y, total.z += factor * x.z, total.w += factor * x.w;
  }
  out.store(i / 2 ? lower : upper, first_column + 32 * group + 8 * (lane % 4) + 4 * (i % 2), total);
}

// ---- launches ----

inline int slices_of(const Attention& op) { return static_cast<int>(ceil_div(width_of(op), kColumns)); }

// Calls run(Vector).
template <class Run>
void for_reading(const Attention& op, Run run) {
  vector_rows(op) ? run(Vector<true>{}) : run(Vector<false>{});
}

}  // namespace mpq::attention
