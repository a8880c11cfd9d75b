// Attention, fused over ragged rows, with the softmax built up as keys come (Dao et al., FlashAttention, 2022, section
// 3.1).
#include <algorithm>

#include "cuda/attention.cuh"
#include "cuda/attention_first.cuh"
#include "cuda/cuda_ops.h"

namespace mpq {

void quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged, const Lane& lane);

namespace attention {
namespace {

// Softmax of a warp's share of the keys, of the lane's rows g + 8 r of each tile.
template <class S>
struct Softmax {
  float top[S::tiles][2], sum[S::tiles][2];
};

// One row of a chunk: scores become exponentials over the maximum so far, dropped or scaled. Returns what the sums so
// far are to be multiplied by. x[i] is the score of key + 16 i.
__device__ __forceinline__ float absorb(float (&x)[4], float& top, float& sum, const Head& head, int key, int query) {
  float largest = -INFINITY;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (key + 16 * i >= head.keys) x[i] = -INFINITY;
    largest = fmaxf(largest, x[i]);
  }
  const float before = top;
  top = fmaxf(before, quad_max(largest) * head.scale);
  const float rescale = expf(before - top);
  sum *= rescale;
  float factor[4];
  dropout_factors(factor, head, key, query);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float e = expf(fmaf(x[i], head.scale, -top));
    sum += e;
    x[i] = e * factor[i];
  }
  return rescale;
}

// Scores of 16 keys, of which the lane has key, key + 16, key + 32, key + 48, become the left operand of the values.
template <class S>
__device__ __forceinline__ void absorb(Scores<S>& s, Softmax<S>& softmax, Sums<S>& sums, const Head& head, int key,
                                       int first_query) {
  const FragmentLane lane;
#pragma unroll
  for (int tile = 0; tile < S::tiles; ++tile) {
    float rescale[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float x[4] = {s[tile][0][2 * r], s[tile][0][2 * r + 1], s[tile][1][2 * r], s[tile][1][2 * r + 1]};
      rescale[r] = absorb(x, softmax.top[tile][r], softmax.sum[tile][r], head, key,
                          first_query + 16 * tile + 8 * r + lane.g);
#pragma unroll
      for (int i = 0; i < 4; ++i) s[tile][i / 2][2 * r + i % 2] = x[i];
    }
    if (!__any_sync(kAllLanes, rescale[0] != 1 || rescale[1] != 1)) continue;
#pragma unroll
    for (int i = 0; i < S::groups * 16; ++i) sums[tile][i / 16][i / 4 % 4][i % 4] *= rescale[i / 2 % 2];
  }
}

// What every warp's sums count for in each row, from the maximum and sum that each has seen.
template <class S>
struct Shares {
  float2 seen[kWarps][S::rows];
  float weight[kWarps][S::rows];

  __device__ void set(const Softmax<S>& softmax) {
    const FragmentLane lane;
#pragma unroll
    for (int i = 0; i < S::tiles * 2; ++i) {
      const float sum = quad_sum(softmax.sum[i / 2][i % 2]);
      if (lane.t == 0) seen[threadIdx.x / kWarp][8 * i + lane.g] = {softmax.top[i / 2][i % 2], sum};
    }
  }
  // Of one row, after set by all warps: {maximum, 1 / sum}.
  __device__ float2 weigh(int row) {
    float top = -INFINITY, sum = 0;
    for (int w = 0; w < kWarps; ++w) top = fmaxf(top, seen[w][row].x);
    for (int w = 0; w < kWarps; ++w) {
      weight[w][row] = expf(seen[w][row].x - top);
      sum += weight[w][row] * seen[w][row].y;
    }
    const float inverse = 1.0f / sum;
    for (int w = 0; w < kWarps; ++w) weight[w][row] *= inverse;
    return {top, inverse};
  }
};

template <class S, int Terms>
__global__ void __launch_bounds__(kThreads) attention_kernel(const __grid_constant__ Attention op) {
  extern __shared__ uint4 shared[];
  __shared__ Shares<S> shares;
  const TilePlace place = find_tile(op.queries, blockIdx.x, S::rows);
  const int slices = gridDim.y / op.heads, first_column = blockIdx.y % slices * S::columns;
  const Head head(op, blockIdx.z, place.sequence, blockIdx.y / slices);
  if (place.first >= head.queries) return;
  const FragmentLane lane;
  const auto query_of = [&](int r) { return place.first + 8 * r + lane.g; };
  const HeadRows k = head.of_keys(op.k), v = head.of_keys(op.v);
  stage_left<S, Terms>(shared, head.of_queries(op.q), query_of);
  __syncthreads();

  Sums<S> sums = {};
  Softmax<S> softmax;
#pragma unroll
  for (int i = 0; i < S::tiles * 2; ++i) softmax.top[i / 2][i % 2] = -INFINITY, softmax.sum[i / 2][i % 2] = 0;
  for (int first = first_key(); first < head.keys; first += kKeysARound) {
    const KeyColumns columns(first);
    Scores<S> s;
    scores<S, Terms>(s, shared, k, columns.row);
    absorb<S>(s, softmax, sums, head, columns.key[0], place.first);
    add_products<S, Terms>(sums, s, v, columns.key, first_column);
  }

  shares.set(softmax);
  __syncthreads();
  const int row = threadIdx.x;
  if (row < S::rows) {
    const float2 stats = shares.weigh(row);
    if (first_column == 0 && place.first + row < head.queries) *head.stats(op, place.first + row) = stats;
  }
  merge_and_store<S>(reinterpret_cast<float4*>(shared), sums, head.of_queries(op.context), query_of, first_column,
                     [&](int warp, int row) { return shares.weight[warp][row]; });
}

}  // namespace
}  // namespace attention

void CudaOps::attention(const Attention& op) {
  if (op.queries.longest == 1) {
    attention_first(op, main_.stream);
  } else {
    attention::for_width(op.q.cols() / op.heads, precision_, [&](auto shape, auto terms) {
      using S = decltype(shape);
      const int width = static_cast<int>(op.q.cols()) / op.heads;
      const dim3 grid(attention::tiles_of(op.queries.rows, op.queries.sequences, S::rows),
                      op.heads * ceil_div(width, S::columns), op.context.replicas);
      const size_t bytes = std::max(attention::left_bytes<S, terms>(width), attention::kMergeBytes<S>);
      launch(attention::attention_kernel<S, terms>, grid, attention::kThreads, bytes, main_.stream, op);
    });
  }
  if (op.quantized.count > 0) mpq::quantize_copies(op.quantized, op.context, op.queries, main_);
}

}  // namespace mpq
