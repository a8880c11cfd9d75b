// The gradient of attention: probabilities are computed again from each row's maximum and sum (Dao et al.,
// FlashAttention, 2022, section 3.1), and sum_j p dp is the product of context and its gradient (Dao, FlashAttention-2,
// 2023, section 3.1). Blocks of two kinds share a launch: tiles of keys make dk and dv, tiles of queries make dq. What
// both need they compute twice: nothing is added up across blocks.
#include <algorithm>

#include "cuda/attention.cuh"
#include "cuda/attention_first.cuh"
#include "cuda/cuda_ops.h"

namespace mpq {
namespace attention {
namespace {

// ---- dk, dv: rows are keys, columns queries ----

// Scores and d(dropped p) of one query against the lane's keys key, key + 16 ... become dropped p and d(scores).
template <int N>
__device__ __forceinline__ void differentiate(float (&s)[N], float (&dp)[N], const Head& head, int key, int query,
                                              float2 stats, float delta) {
  float factor[N];
  dropout_factors(factor, head, key, query);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float p = expf(fmaf(s[i], head.scale, -stats.x)) * stats.y;
    s[i] = p * factor[i];
    dp[i] = fmaf(p, -delta, s[i] * dp[i]) * head.scale;
  }
}

// A tile's keys are 8 out of every 16: one call of the generator then serves all of a lane's keys.
template <class S>
__device__ __forceinline__ int first_key_of_tile(const AttentionGrad& op, int tile, int& sequence) {
  const TilePlace place = find_tile(op.forward.keys, tile / 2, 2 * S::rows);
  sequence = place.sequence;
  return place.first + 8 * (tile % 2);
}

template <class S, int Terms>
__device__ __forceinline__ void key_tile(const AttentionGrad& op, uint4* shared, int tile, int head_number, int slice) {
  int sequence;
  const int first = first_key_of_tile<S>(op, tile, sequence), first_column = slice * S::columns;
  const Head head(op.forward, blockIdx.z, sequence, head_number);
  if (first >= head.keys) return;
  const FragmentLane lane;
  const auto key_of = [&](int r) { return first + lane.g + 16 * r; };
  uint4 *k = shared, *v = shared + left_bytes<S, Terms>(head.width) / sizeof(uint4);
  stage_left<S, Terms>(k, head.of_keys(op.forward.k), key_of);
  stage_left<S, Terms>(v, head.of_keys(op.forward.v), key_of);
  __syncthreads();

  const HeadRows q = head.of_queries(op.forward.q), dcontext = head.of_queries(op.dcontext);
  const HeadRows context = head.of_queries(op.forward.context);
  Sums<S> dk = {}, dv = {};
  for (int base = static_cast<int>(threadIdx.x) / kWarp * 16; base < head.queries; base += 16 * kWarps) {
    const int columns[2] = {base + lane.g, base + 8 + lane.g};
    float delta[2] = {};  // of the queries in `columns`
    Scores<S> s, dp;
    scores<S, Terms>(s, k, q, columns);
    scores<S, Terms>(dp, v, dcontext, columns, [&](int half, int column, float4 x) {
      delta[half] += dot(x, context.load<S::vector>(columns[half], column));
    });
    delta[0] = quad_sum(delta[0]), delta[1] = quad_sum(delta[1]);
    int queries[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = 2 * lane.t + i % 2;
      queries[i] = base + 8 * (i / 2) + column;
      const float2 stats = head.stats_or_zero(op.forward, queries[i]);
      float x[2 * S::tiles], dx[2 * S::tiles];
#pragma unroll
      for (int r = 0; r < 2 * S::tiles; ++r)
        x[r] = s[r / 2][i / 2][2 * (r % 2) + i % 2], dx[r] = dp[r / 2][i / 2][2 * (r % 2) + i % 2];
      differentiate(x, dx, head, key_of(0), queries[i], stats, __shfl_sync(kAllLanes, delta[i / 2], 4 * column));
#pragma unroll
      for (int r = 0; r < 2 * S::tiles; ++r)
        s[r / 2][i / 2][2 * (r % 2) + i % 2] = x[r], dp[r / 2][i / 2][2 * (r % 2) + i % 2] = dx[r];
    }
    add_products<S, Terms>(dv, s, dcontext, queries, first_column);
    add_products<S, Terms>(dk, dp, q, queries, first_column);
  }
  const auto one = [](int, int) { return 1.0f; };
  float4* merge = reinterpret_cast<float4*>(shared);
  merge_and_store<S>(merge, dv, head.of_keys(op.dv), key_of, first_column, one);
  merge_and_store<S>(merge, dk, head.of_keys(op.dk), key_of, first_column, one);
}

// ---- dq: rows are queries, columns keys ----

template <class S, int Terms>
__device__ __forceinline__ void query_tile(const AttentionGrad& op, uint4* shared, int tile, int head_number,
                                           int slice) {
  __shared__ float deltas[S::rows];
  const TilePlace place = find_tile(op.forward.queries, tile, S::rows);
  const int first_column = slice * S::columns;
  const Head head(op.forward, blockIdx.z, place.sequence, head_number);
  if (place.first >= head.queries) return;
  const FragmentLane lane;
  const auto query_of = [&](int r) { return place.first + 8 * r + lane.g; };
  const HeadRows dcontext = head.of_queries(op.dcontext), context = head.of_queries(op.forward.context);
  uint4 *q = shared, *d = shared + left_bytes<S, Terms>(head.width) / sizeof(uint4);
  stage_left<S, Terms>(q, head.of_queries(op.forward.q), query_of);
  stage_left<S, Terms>(d, dcontext, query_of);
  for (int row = static_cast<int>(threadIdx.x) / 4; row < S::rows; row += kThreads / 4) {  // whole warps only
    float delta = 0;
    for (int column = 4 * lane.t; column < head.width; column += 16)
      delta += dot(dcontext.load<S::vector>(place.first + row, column),
                   context.load<S::vector>(place.first + row, column));
    delta = quad_sum(delta);
    if (lane.t == 0) deltas[row] = delta;
  }
  __syncthreads();
  float2 stats[S::tiles * 2];
  float delta[S::tiles * 2];
#pragma unroll
  for (int r = 0; r < S::tiles * 2; ++r)
    stats[r] = head.stats_or_zero(op.forward, query_of(r)), delta[r] = deltas[8 * r + lane.g];

  const HeadRows k = head.of_keys(op.forward.k), v = head.of_keys(op.forward.v);
  Sums<S> dq = {};
  for (int first = first_key(); first < head.keys; first += kKeysARound) {
    Scores<S> s, dp;
    const KeyColumns columns(first);
    scores<S, Terms>(s, q, k, columns.row);
    scores<S, Terms>(dp, d, v, columns.row);
#pragma unroll
    for (int r = 0; r < S::tiles * 2; ++r) {
      float x[4], dx[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        x[i] = columns.key[i] < head.keys ? s[r / 2][i / 2][2 * (r % 2) + i % 2] : -INFINITY;
        dx[i] = dp[r / 2][i / 2][2 * (r % 2) + i % 2];
      }
      differentiate(x, dx, head, columns.key[0], query_of(r), stats[r], delta[r]);
#pragma unroll
      for (int i = 0; i < 4; ++i) dp[r / 2][i / 2][2 * (r % 2) + i % 2] = dx[i];
    }
    add_products<S, Terms>(dq, dp, k, columns.key, first_column);
  }
  merge_and_store<S>(reinterpret_cast<float4*>(shared), dq, head.of_queries(op.dq), query_of, first_column,
                     [](int, int) { return 1.0f; });
}

template <class S, int Terms>
__global__ void __launch_bounds__(kThreads) attention_grad_kernel(const __grid_constant__ AttentionGrad op) {
  extern __shared__ uint4 shared[];
  const int a_kind = gridDim.y / 2, slices = a_kind / op.forward.heads, y = blockIdx.y % a_kind;
  if (blockIdx.y < a_kind)  // the longer work first
    key_tile<S, Terms>(op, shared, blockIdx.x, y / slices, y % slices);
  else
    query_tile<S, Terms>(op, shared, blockIdx.x, y / slices, y % slices);
}

}  // namespace
}  // namespace attention

void CudaOps::attention_grad(const AttentionGrad& op) {
  using namespace attention;
  const Attention& forward = op.forward;
  if (forward.queries.longest == 1) return attention_first_grad(op, main_.stream);
  const int width = static_cast<int>(forward.q.cols()) / forward.heads;
  for_width(width, precision_, [&](auto shape, auto terms) {
    using S = decltype(shape);
    const int64_t key_tiles = 2 * tiles_of(forward.keys.rows, forward.keys.sequences, 2 * S::rows);
    const int64_t query_tiles = tiles_of(forward.queries.rows, forward.queries.sequences, S::rows);
    const dim3 grid(std::max(key_tiles, query_tiles), 2 * forward.heads * ceil_div(width, S::columns),
                    forward.context.replicas);
    const size_t bytes = std::max(2 * left_bytes<S, terms>(width), kMergeBytes<S>);
    launch(attention_grad_kernel<S, terms>, grid, kThreads, bytes, main_.stream, op);
  });
}

}  // namespace mpq
