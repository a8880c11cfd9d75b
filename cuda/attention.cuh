// What attention and its gradient share. A block of eight warps makes a tile of output rows of one (replica, sequence,
// head): queries for context and dq, keys for dk and dv. The warps share out the rows it sums over, 16 at a time, read
// them from global memory right into fragments, and at the end add what each has in the order of the warps.
// Which rows a warp takes depends on the sequence alone: no bit depends on the rest of the batch.
#pragma once
#include "cuda/dropout.cuh"
#include "cuda/tf32.cuh"
#include "tensor/device.h"

namespace mpq::attention {

constexpr int kWarps = 8;
constexpr int kThreads = kWarps * kWarp;

// How much of the output a block makes: 16 x tiles rows, and of the head's columns so many that the sums fit the
// registers; wider heads take several blocks (slices). `vector`: rows are read 4 columns at a time.
template <int Tiles, int Columns, bool Vector>
struct Shape {
  static constexpr int tiles = Tiles, rows = 16 * Tiles, columns = Columns, groups = Columns / 32;
  static constexpr bool vector = Vector;
};
using Narrow = Shape<2, 64, true>;
using Wide = Shape<1, 128, true>;
using Odd = Shape<1, 128, false>;

// A lane's place in a fragment.
struct FragmentLane {
  int g = static_cast<int>(threadIdx.x) % kWarp / 4, t = static_cast<int>(threadIdx.x) % 4;
};

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

// Rows of one head of one sequence.
struct HeadRows {
  float* first;
  int stride, width, count;

  template <bool Vector>
  __device__ __forceinline__ float4 load(int row, int column) const {  // zeros beyond the last row and column
    if (row >= count || column >= width) return {0, 0, 0, 0};
    const float* from = first + int64_t{row} * stride + column;
    if constexpr (Vector) return __ldg(reinterpret_cast<const float4*>(from));
    const int n = width - column;
    return {__ldg(from), n > 1 ? __ldg(from + 1) : 0, n > 2 ? __ldg(from + 2) : 0, n > 3 ? __ldg(from + 3) : 0};
  }
  template <bool Vector>
  __device__ __forceinline__ void store(int row, int column, float4 x) const {
    if (row >= count || column >= width) return;
    float* to = first + int64_t{row} * stride + column;
    if constexpr (Vector) {
      *reinterpret_cast<float4*>(to) = x;
    } else {
      const float values[4] = {x.x, x.y, x.z, x.w};
      for (int i = 0; i < min(4, width - column); ++i) to[i] = values[i];
    }
  }
};

// One (replica, sequence, head) of the problem.
struct Head {
  int replica, sequence, head, width, stride;
  int query_row, queries, key_row, keys;  // first rows, counts
  float scale;
  DropoutKey dropout;

  __device__ Head(const Attention& op, int replica, int sequence, int head)
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

  __device__ HeadRows of_queries(const Tensor& t) const { return rows_of_head(t, query_row, queries); }
  __device__ HeadRows of_keys(const Tensor& t) const { return rows_of_head(t, key_row, keys); }
  __device__ uint32_t dropout_row() const {
    return static_cast<uint32_t>(sequence) + (static_cast<uint32_t>(head) << 20);
  }
  // {maximum of the scaled scores, 1 / sum of exponentials} of a query.
  __device__ float2* stats(const Attention& op, int query) const {
    const int64_t row = int64_t{query_row} + query;
    return reinterpret_cast<float2*>(op.stats.f32(replica)) + row * op.heads + head;
  }
  // {0, 0}, for probabilities of zero, beyond the last query.
  __device__ float2 stats_or_zero(const Attention& op, int query) const {
    return query < queries ? *stats(op, query) : float2{0, 0};
  }

 private:
  __device__ HeadRows rows_of_head(const Tensor& t, int row, int count) const {
    return {t.f32(replica) + int64_t{row} * stride + head * width, stride, width, count};
  }
};

// What keys key, key + 16 ... key + 16 (N - 1), all in one group of 128, are multiplied by for a query. N is even, and
// key's place among the eight halves of its counter a multiple of N.
template <int N>
__device__ __forceinline__ void dropout_factors(float (&factor)[N], const Head& head, int key, int query) {
#pragma unroll
  for (int i = 0; i < N; ++i) factor[i] = 1;
  if (!head.dropout.on) return;
  const Philox bits = dropout_bits(head.dropout, key / 128, key % 16, query, head.dropout_row());
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
__host__ __device__ constexpr int64_t tiles_of(int64_t total_rows, int64_t sequences, int rows) {
  return total_rows / rows + sequences;
}
__device__ __forceinline__ TilePlace find_tile(const Ragged& ragged, int tile, int rows) {
  int begun = 0;  // sequences whose tiles start at or before this one
  for (int first = 0; first < ragged.sequences; first += kWarp) {
    const int b = first + static_cast<int>(threadIdx.x) % kWarp;
    begun += __popc(__ballot_sync(kAllLanes, b < ragged.sequences && ragged.starts[b] / rows + b <= tile));
  }
  const int b = begun - 1;
  return {b, (tile - ragged.starts[b] / rows - b) * rows};
}

// Where a tile of queries meets keys, the warps take 16 of every 128 each: the 16 of warp w are first + {0 ... 3} +
// 16 {0 ... 3}, so that one call of the dropout's generator serves a lane's four.
constexpr int kKeysARound = 16 * kWarps;
__device__ __forceinline__ int first_key() {
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  return warp / 4 * 64 + warp % 4 * 4;
}
struct KeyColumns {
  int row[2];  // the key of column g of either fragment
  int key[4];  // the keys of the lane's columns: 2 t and 2 t + 1 of the first fragment, then of the second

  __device__ explicit KeyColumns(int first) {
    const FragmentLane lane;
    for (int half = 0; half < 2; ++half) row[half] = first + lane.g / 2 + 16 * (2 * half + lane.g % 2);
    for (int i = 0; i < 4; ++i) key[i] = first + lane.t + 16 * i;
  }
};

// ---- products ----
// Columns of a head are dealt to the steps of k so that a lane's share of 16 is 4 neighbours: k = t and t + 4 of both
// steps are columns 4 t ... 4 t + 3. Left and right agree, so the sum is over the same pairs.

template <class S>
using Scores = float[S::tiles][2][4];  // 16 x tiles rows, 16 columns: 2 fragments of 8
template <class S>
using Sums = float[S::tiles][S::groups][4][4];  // [16 rows][32 columns][column % 4][fragment]

__device__ __forceinline__ int steps16(int width) { return (width + 15) / 16; }

// The block's own rows as left operand, in shared memory: [tile][16 columns][step][term][lane].
template <class S, int Terms>
__host__ __device__ constexpr size_t left_bytes(int width) {
  return size_t{S::tiles} * ((width + 15) / 16) * 2 * Terms * kWarp * sizeof(uint4);
}
template <class S, int Terms, class RowOf>  // row_of(r) = row of rows g + 8 r of the tile
__device__ __forceinline__ void stage_left(uint4* left, const HeadRows& rows, RowOf row_of) {
  const int steps = steps16(rows.width);
  const FragmentLane lane;
  for (int item = static_cast<int>(threadIdx.x) / kWarp; item < S::tiles * steps; item += kWarps) {
    const int tile = item / steps, column = item % steps * 16 + 4 * lane.t;
    const float4 upper = rows.load<S::vector>(row_of(2 * tile), column);
    const float4 lower = rows.load<S::vector>(row_of(2 * tile + 1), column);
    const LeftFragment<Terms> fragments[2] = {left_fragment<Terms>(upper.x, lower.x, upper.y, lower.y),
                                              left_fragment<Terms>(upper.z, lower.z, upper.w, lower.w)};
#pragma unroll
    for (int i = 0; i < 2 * Terms; ++i)
      left[(item * 2 * Terms + i) * kWarp + threadIdx.x % kWarp] = fragments[i / Terms].term[i % Terms];
  }
}

// s = left right^T, where column n of the 16 is row[n / 8] of `right`, for the lane with g = n % 8. `visit` sees what
// the lane reads: (half, column, 4 values).
template <class S, int Terms, class Visit>
__device__ __forceinline__ void scores(Scores<S>& s, const uint4* left, const HeadRows& right, const int (&row)[2],
                                       Visit visit) {
  const int steps = steps16(right.width);
  const FragmentLane lane;
#pragma unroll
  for (int i = 0; i < S::tiles * 8; ++i) s[i / 8][i / 4 % 2][i % 4] = 0;
#pragma unroll 4
  for (int step = 0; step < steps; ++step) {
    RightFragment<Terms> b[2][2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int column = 16 * step + 4 * lane.t;
      const float4 x = right.load<S::vector>(row[half], column);
      visit(half, column, x);
      b[half][0] = right_fragment<Terms>(x.x, x.y);
      b[half][1] = right_fragment<Terms>(x.z, x.w);
    }
#pragma unroll
    for (int tile = 0; tile < S::tiles; ++tile) {
      LeftFragment<Terms> a[2];
#pragma unroll
      for (int i = 0; i < 2 * Terms; ++i)
        a[i / Terms].term[i % Terms] = left[((tile * steps + step) * 2 * Terms + i) * kWarp + threadIdx.x % kWarp];
#pragma unroll
      for (int half = 0; half < 2; ++half) multiply_add(s[tile][half], a, b[half]);
    }
  }
}
template <class S, int Terms>
__device__ __forceinline__ void scores(Scores<S>& s, const uint4* left, const HeadRows& right, const int (&row)[2]) {
  scores<S, Terms>(s, left, right, row, [](int, int, float4) {});
}

// sums += p rows, where the lane's columns of p are the rows row[2 half + e]. What lies in a fragment of scores is a
// left operand as it stands, if k = t is column 2 t and k = t + 4 column 2 t + 1.
template <class S, int Terms>
__device__ __forceinline__ void add_products(Sums<S>& sums, const Scores<S>& p, const HeadRows& rows,
                                             const int (&row)[4], int first_column) {
  const FragmentLane lane;
  LeftFragment<Terms> a[S::tiles][2];
#pragma unroll
  for (int i = 0; i < S::tiles * 2; ++i) {
    const float(&c)[4] = p[i / 2][i % 2];
    a[i / 2][i % 2] = left_fragment<Terms>(c[0], c[2], c[1], c[3]);
  }
#pragma unroll
  for (int group = 0; group < S::groups; ++group) {
    const int column = first_column + 32 * group + 4 * lane.g;
    if (first_column + 32 * group >= rows.width) break;
    float4 x[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = rows.load<S::vector>(row[i], column);
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const auto at = [c](const float4& v) { return c == 0 ? v.x : c == 1 ? v.y : c == 2 ? v.z : v.w; };
      const RightFragment<Terms> b[2] = {right_fragment<Terms>(at(x[0]), at(x[1])),
                                         right_fragment<Terms>(at(x[2]), at(x[3]))};
#pragma unroll
      for (int tile = 0; tile < S::tiles; ++tile) multiply_add(sums[tile][group][c], a[tile], b);
    }
  }
}

// ---- the sum over the warps ----

template <class S>
constexpr int kParts = S::tiles * S::groups * 4;  // float4 of sums a lane holds
template <class S>
constexpr size_t kMergeBytes = size_t{kWarps} * kParts<S> * kWarp * sizeof(float4);

// Writes the sum over the warps of weight(warp, row of the tile) * sums. All threads call it; `merge` is shared memory
// that nobody uses any more.
template <class S, class RowOf, class Weight>
__device__ __forceinline__ void merge_and_store(float4* merge, const Sums<S>& sums, const HeadRows& out, RowOf row_of,
                                                int first_column, Weight weight) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  __syncthreads();
#pragma unroll
  for (int part = 0; part < kParts<S>; ++part) {
    const auto& four = sums[part / 4 / S::groups][part / 4 % S::groups];
    const int i = part % 4;  // row g + 8 (i / 2), columns 8 t + 4 (i % 2) and the next three
    merge[(warp * kParts<S> + part) * kWarp + lane] = {four[0][i], four[1][i], four[2][i], four[3][i]};
  }
  __syncthreads();
#pragma unroll
  for (int part = warp; part < kParts<S>; part += kWarps) {
    const int tile = part / 4 / S::groups, group = part / 4 % S::groups, i = part % 4;
    const int r = 2 * tile + i / 2, g = lane / 4, t = lane % 4;
    float4 total = {0, 0, 0, 0};
#pragma unroll
    for (int w = 0; w < kWarps; ++w) {
      const float4 x = merge[(w * kParts<S> + part) * kWarp + lane];
      const float factor = weight(w, 8 * r + g);
      total.x += factor * x.x, total.y += factor * x.y, total.z += factor * x.z, total.w += factor * x.w;
    }
    out.store<S::vector>(row_of(r), first_column + 32 * group + 8 * t + 4 * (i % 2), total);
  }
}

// ---- launches ----

// Calls run(shape, terms): the shape for heads of this width, and how a float stands on the tensor cores. One term keeps
// TF32's bits, more than bf16 asks for: with one product the tensor cores wait for the exponentials, not the reverse.
template <int Terms>
using TermCount = std::integral_constant<int, Terms>;
template <class Run>
void for_width(int64_t width, Precision precision, Run run) {
  const bool exact = precision == Precision::fp32;
  if (width % 4 != 0)
    run(Odd{}, TermCount<2>{});
  else if (width <= Narrow::columns)
    exact ? run(Narrow{}, TermCount<2>{}) : run(Narrow{}, TermCount<1>{});
  else
    exact ? run(Wide{}, TermCount<2>{}) : run(Wide{}, TermCount<1>{});
}

}  // namespace mpq::attention
