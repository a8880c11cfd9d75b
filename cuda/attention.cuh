// What attention and its gradient share. A block of eight warps makes 16 rows, up to 64 columns wide, of one (replica,
// sequence, head): queries for context and dq, keys for dk and dv. The warps share out the rows it sums over, 16 at a
// time, read them from global memory right into fragments, and at the end add what each has in the order of the warps.
// Which rows a warp takes depends on the sequence alone: no bit depends on the rest of the batch.
#pragma once
#include "cuda/dropout.cuh"
#include "cuda/tf32.cuh"
#include "tensor/device.h"

namespace mpq::attention {

constexpr int kWarps = 8, kThreads = kWarps * kWarp;
constexpr int kRows = 16, kColumns = 64;  // of a block's output; wider heads take several blocks (slices)
constexpr int kGroups = kColumns / 32;

// A lane's place in a fragment.
struct FragmentLane {
  int g = static_cast<int>(threadIdx.x) % kWarp / 4, t = static_cast<int>(threadIdx.x) % 4;
};
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x) / kWarp; }

// Over the four lanes of equal g.
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}

__device__ __forceinline__ float dot(float4 a, float4 b) {
  return fmaf(a.x, b.x, fmaf(a.y, b.y, fmaf(a.z, b.z, a.w * b.w)));
}

// Rows of one head of one sequence, read four columns at a time: at once where Vector says that heads begin and end at
// multiples of four.
template <bool Vector>
struct HeadRows {
  float* first;
  int stride, width, count;

  // Reads beyond the last row or column give what stands there: something finite that goes times zero.
  __device__ __forceinline__ const float* row(int i) const { return first + int64_t{min(i, count - 1)} * stride; }
  __device__ __forceinline__ float4 load(const float* row, int column) const {
    if constexpr (Vector) return __ldg(reinterpret_cast<const float4*>(row + min(column, width - 4)));
    const auto at = [&](int c) { return __ldg(row + min(c, width - 1)); };
    return {at(column), at(column + 1), at(column + 2), at(column + 3)};
  }
  // Zeros beyond the last column.
  __device__ __forceinline__ float4 load_or_zero(const float* row, int column) const {
    const float4 x = load(row, column);
    return {column < width ? x.x : 0, column + 1 < width ? x.y : 0, column + 2 < width ? x.z : 0,
            column + 3 < width ? x.w : 0};
  }
  __device__ __forceinline__ void store(int i, int column, float4 x) const {
    if (i >= count || column >= width) return;
    float* to = first + int64_t{i} * stride + column;
    if constexpr (Vector) {
      *reinterpret_cast<float4*>(to) = x;
    } else {
      to[0] = x.x;
      if (column + 1 < width) to[1] = x.y;
      if (column + 2 < width) to[2] = x.z;
      if (column + 3 < width) to[3] = x.w;
    }
  }
};

// One (replica, sequence, head) of the problem.
template <bool Vector>
struct Head {
  int replica, sequence, head, width, stride;
  int query_row, queries, key_row, keys;  // first rows, counts
  float scale;
  DropoutKey dropout;

  __device__ __forceinline__ Head(const Attention& op, int replica, int sequence, int head)
      : replica(replica),
        sequence(sequence),
        head(head),
        width(static_cast<int>(op.q.cols()) / op.heads),
        stride(static_cast<int>(op.q.cols())),
        query_row(op.queries.starts[sequence]),
        queries(op.queries.starts[sequence + 1] - query_row),
        key_row(op.keys.starts[sequence]),
        keys(op.keys.starts[sequence + 1] - key_row),
        scale(1.0f / sqrtf(static_cast<float>(width))),
        dropout(dropout_key(op.dropout, replica)) {}

  __device__ __forceinline__ HeadRows<Vector> of_queries(const Tensor& t) const { return rows(t, query_row, queries); }
  __device__ __forceinline__ HeadRows<Vector> of_keys(const Tensor& t) const { return rows(t, key_row, keys); }
  __device__ __forceinline__ uint32_t dropout_row() const {
    return static_cast<uint32_t>(sequence) + (static_cast<uint32_t>(head) << 20);
  }
  // {maximum of the scaled scores, 1 / sum of exponentials} of a query.
  __device__ __forceinline__ float2* stats(const Attention& op, int query) const {
    const int64_t row = int64_t{query_row} + query;
    return reinterpret_cast<float2*>(op.stats.f32(replica)) + row * op.heads + head;
  }
  // Beyond the last query what makes all probabilities zero.
  __device__ __forceinline__ float2 stats_or_none(const Attention& op, int query) const {
    return query < queries ? *stats(op, query) : float2{INFINITY, 0};
  }

 private:
  __device__ __forceinline__ HeadRows<Vector> rows(const Tensor& t, int row, int count) const {
    return {t.f32(replica) + int64_t{row} * stride + head * width, stride, width, count};
  }
};

// What keys key, key + 16 ... key + 16 (N - 1), all in one group of 128, are multiplied by for a query. N is even, and
// key's place among the eight halves of its counter a multiple of N.
template <int N, bool Vector>
__device__ __forceinline__ void dropout_factors(float (&factor)[N], const Head<Vector>& head, int key, int query) {
#pragma unroll
  for (int i = 0; i < N; ++i) factor[i] = 1;
  if (!head.dropout.on) return;
  DropoutKey philox_key = head.dropout;
  asm volatile(""
               : "+r"(philox_key.k0), "+r"(philox_key.k1));  // keeps twenty round keys from registers for all the loop
  const Philox bits = dropout_bits(philox_key, key / 128, key % 16, query, head.dropout_row());
  const int first = key % 128 / 32;  // word
  const uint32_t even = first & 2 ? bits.word[2] : bits.word[0], odd = first & 2 ? bits.word[3] : bits.word[1];
  const Philox mine = N == 2 && first & 1 ? Philox{{odd, odd}} : Philox{{even, odd}};
#pragma unroll
  for (int i = 0; i < N; ++i) factor[i] = dropout_factor(head.dropout, mine, i);
}

// Tiles of sequence b are number starts[b] / rows + b and the following: enough for all its rows, and found without a
// sum over the sequences before it. `first` may lie beyond the sequence: the last number may stand for nothing.
struct TilePlace {
  int sequence, first;
};
constexpr int64_t tiles_of(const Ragged& ragged, int rows) { return ragged.rows / rows + ragged.sequences; }
__device__ __forceinline__ TilePlace find_tile(const Ragged& ragged, int tile, int rows) {
  int begun = 0;  // sequences whose tiles start at or before this one
#pragma unroll 1
  for (int first = 0; first < ragged.sequences; first += kWarp) {
    const int b = first + static_cast<int>(threadIdx.x) % kWarp;
    begun += __popc(__ballot_sync(kAllLanes, b < ragged.sequences && ragged.starts[b] / rows + b <= tile));
  }
  const int b = begun - 1;
  return {b, (tile - ragged.starts[b] / rows - b) * rows};
}

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
  for (int step = 0; step < steps; ++step) {
    LeftFragment<Terms> a[2];
#pragma unroll
    for (int i = 0; i < 2 * Terms; ++i)
      a[i / Terms].term[i % Terms] = left[(step * 2 * Terms + i) * kWarp + threadIdx.x % kWarp];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int column = 16 * step + 4 * lane.t;
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

inline int width_of(const Attention& op) { return static_cast<int>(op.q.cols()) / op.heads; }
inline int slices_of(const Attention& op) { return static_cast<int>(ceil_div(width_of(op), kColumns)); }

template <int N>
using Terms = std::integral_constant<int, N>;
template <bool V>
using Vector = std::bool_constant<V>;

// Calls run(Vector, Terms). One term keeps TF32's bits, more than bf16 asks for: with one product the tensor cores wait
// for the exponentials, not the reverse.
template <class Run>
void for_variant(const Attention& op, Precision precision, Run run) {
  if (width_of(op) % 4 != 0)
    run(Vector<false>{}, Terms<2>{});
  else if (precision == Precision::fp32)
    run(Vector<true>{}, Terms<2>{});
  else
    run(Vector<true>{}, Terms<1>{});
}

}  // namespace mpq::attention
