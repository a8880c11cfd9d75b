// The rows of attention: one head of one sequence of one replica, its tiles, its dropout.
#pragma once
#include "cuda/dropout.cuh"
#include "cuda/opaque.cuh"

namespace mpq::attention {

// A lane's place in a fragment.
struct FragmentLane {
  int g = static_cast<int>(threadIdx.x % kWarp / 4), t = static_cast<int>(threadIdx.x % 4);
};
__device__ __forceinline__ int warp_index() { return static_cast<int>(threadIdx.x / kWarp); }

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

// Rows of one head of one sequence, read four columns at a time; at once, and without a look at where the row ends,
// where Vector says that a head is a multiple of 32 wide.
template <bool Vector>
struct HeadRows {
  float* first;
  int stride, width, count;

  // Beyond the last row or column comes the last one: something finite that goes times zero.
  __device__ __forceinline__ const float* row(int i) const { return first + int64_t{min(i, count - 1)} * stride; }
  __device__ __forceinline__ float4 load(const float* row, int64_t column) const {
    if constexpr (Vector) return __ldg(reinterpret_cast<const float4*>(row + column));
    const auto at = [&](int c) { return __ldg(row + min(c, width - 1)); };
    const int c = static_cast<int>(column);
    return {at(c), at(c + 1), at(c + 2), at(c + 3)};
  }
  // Zeros beyond the last column.
  __device__ __forceinline__ float4 load_or_zero(const float* row, int column) const {
    const float4 x = load(row, column);
    if constexpr (Vector) return x;
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
  uint32_t dropout_row;  // what addresses its elements beside query and key

  __device__ __forceinline__ Head(const Attention& op, int stride, int replica, int sequence, int head)
      : Head(op, stride, replica, sequence, head, stride / op.heads) {}
  __device__ __forceinline__ Head(const Attention& op, int stride, int replica, int sequence, int head, int width)
      : replica(replica),
        sequence(sequence),
        head(head),
        width(width),
        stride(stride),
        query_row(op.queries.starts[sequence]),
        queries(op.queries.starts[sequence + 1] - query_row),
        key_row(op.keys.starts[sequence]),
        keys(op.keys.starts[sequence + 1] - key_row),
        scale(1.0f / sqrtf(static_cast<float>(width))),
        dropout(dropout_key(op.dropout, replica)),
        dropout_row(op.dropout.first + static_cast<uint32_t>(sequence) + (static_cast<uint32_t>(head) << 20)) {}

  __device__ __forceinline__ HeadRows<Vector> of_queries(const Tensor& t) const { return rows(t, query_row, queries); }
  __device__ __forceinline__ HeadRows<Vector> of_keys(const Tensor& t) const { return rows(t, key_row, keys); }
  // {maximum of the scaled scores, 1 / sum of exponentials} of a query.
  __device__ __forceinline__ float2* stats(const Attention& op, int query) const {
    const int64_t row = int64_t{query_row} + query;
    return reinterpret_cast<float2*>(op.stats.f32(replica)) + row * op.heads + head;
  }
  // Beyond the last query what makes all probabilities zero.
  __device__ __forceinline__ float2 stats_or_none(const Attention& op, int query) const {
    return query < queries ? *stats(op, query) : float2{INFINITY, 0};
  }
  // What dropout keeps of a query's keys: byte c is counter c of the generator, its bit s element s of the eight that
  // the counter serves (dropout.cuh).
  __device__ __forceinline__ uint8_t* kept(const Attention& op, int query) const {
    const int64_t row = (int64_t{query_row} + query) * op.heads + head;
    return reinterpret_cast<uint8_t*>(op.kept.i32(replica)) + row * kept_bytes(op);
  }
  static __device__ __forceinline__ int kept_bytes(const Attention& op) {
    return 4 * static_cast<int>(op.kept.shape[2]);
  }

 private:
  __device__ __forceinline__ HeadRows<Vector> rows(const Tensor& t, int row, int count) const {
    return {t.f32(replica) + int64_t{row} * stride + head * width, stride, width, count};
  }
};

// The same key, or its twenty round keys stay in registers all through the caller's loop.
__device__ __forceinline__ DropoutKey opaque(DropoutKey key) {
  key.k0 = mpq::opaque(key.k0), key.k1 = mpq::opaque(key.k1);
  return key;
}

// A byte of Head::kept, in the lowest eight bits.
__device__ __forceinline__ uint32_t kept_bits(const DropoutKey& key, const Philox& bits) {
  uint32_t dropped = 0;
#pragma unroll
  for (int s = 7; s >= 0; --s)
    dropped = __funnelshift_l(dropout_half(bits, s) - key.threshold, dropped, 1);  // the sign
  return ~dropped;
}

// What keys key, key + 16 ... key + 16 (N - 1), all in one group of 128, are multiplied by for a query. N is even, and
// key's place among the eight halves of its counter a multiple of N.
template <int N, bool Vector>
__device__ __forceinline__ void dropout_factors(float (&factor)[N], const Head<Vector>& head, int key, int query) {
#pragma unroll
  for (int i = 0; i < N; ++i) factor[i] = 1;
  if (!head.dropout.on) return;
  const Philox bits = dropout_bits(opaque(head.dropout), key / 128, key % 16, query, head.dropout_row);
  const int first = key % 128 / 32;  // word
  const uint32_t even = first & 2 ? bits.word[2] : bits.word[0], odd = first & 2 ? bits.word[3] : bits.word[1];
  const Philox mine = N == 2 && first & 1 ? Philox{{odd, odd}} : Philox{{even, odd}};
#pragma unroll
  for (int i = 0; i < N; ++i) factor[i] = dropout_factor(head.dropout, mine, i);
}

// Tiles of `rows` rows are numbered through the sequences, the longest of every 32 first: blocks that start last should
// not be the ones that take longest. Numbers beyond the last tile get a row that no sequence has.
struct TilePlace {
  int sequence, first;
};
constexpr int64_t tiles_of(const Ragged& ragged, int rows) { return ragged.rows / rows + ragged.sequences; }
__device__ __forceinline__ TilePlace find_tile(const Ragged& ragged, int tile, int rows) {
  const auto tiles_for = [&](int count) { return (count + rows - 1) / rows; };
#pragma unroll 1
  for (int first = 0; first < ragged.sequences; first += kWarp) {
    const int b = first + lane_id(), count = b < ragged.sequences ? ragged.starts[b + 1] - ragged.starts[b] : 0;
    const int all = __reduce_add_sync(kAllLanes, tiles_for(count));
    if (tile < all) {
      int before = 0;  // tiles of longer sequences
#pragma unroll 1
      for (int other = 0; other < min(ragged.sequences - first, kWarp); ++other) {
        const int length = __shfl_sync(kAllLanes, count, other);
        if (length > count || (length == count && other < lane_id())) before += tiles_for(length);
      }
      const int mine = __ffs(__ballot_sync(kAllLanes, tile >= before && tile < before + tiles_for(count))) - 1;
      return {first + mine, (tile - __shfl_sync(kAllLanes, before, mine)) * rows};
    }
    tile -= all;
  }
  return {0, 1 << 30};
}

// ---- launches ----

inline int stride_of(const Attention& op) { return static_cast<int>(op.q.cols()); }
inline int width_of(const Attention& op) { return stride_of(op) / op.heads; }
inline bool vector_rows(const Attention& op) { return width_of(op) % 32 == 0; }

template <bool V>
using Vector = std::bool_constant<V>;

}  // namespace mpq::attention
