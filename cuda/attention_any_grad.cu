// The gradient of attention for heads of any width: probabilities are computed again from each row's maximum and sum
// (Dao et al., FlashAttention, 2022, section 3.1), and sum_j p dp is the product of context and its gradient (Dao,
// FlashAttention-2, 2023, section 3.1). Blocks of two kinds share a launch: tiles of keys make dk and dv, tiles of
// queries make dq. What both need they compute twice: nothing is added up across blocks.
#include <algorithm>

#include "cuda/attention_any.cuh"

namespace mpq {
namespace attention {
namespace {

// Scores and d(dropped p) of one query against keys key + 16 i become dropped p and d(scores).
template <int N, bool Vector>
__device__ __forceinline__ void differentiate(float (&s)[N], float (&dp)[N], const Head<Vector>& head, int key,
                                              int query, float2 stats, float delta) {
  float factor[N];
  dropout_factors(factor, head, key, query);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const float p = expf(fmaf(s[i], head.scale, -stats.x)) * stats.y;
    s[i] = p * factor[i];
    dp[i] = fmaf(p, -delta, s[i] * dp[i]) * head.scale;
  }
}

__device__ __forceinline__ float one(int, int) { return 1.0f; }

// A block's keys are every other 8 of 32: one call of the dropout's generator then serves both keys of a lane.
__device__ __forceinline__ TilePlace find_key_tile(const Ragged& keys, int tile) {
  const TilePlace place = find_tile(keys, tile / 2, 2 * kRows);
  return {place.sequence, place.first + 8 * (tile % 2)};
}

// dk and dv: rows are keys, columns queries.
template <bool Vector>
__device__ __forceinline__ void key_tile(const AttentionGrad& op, uint4* shared, int stride, int head_number,
                                         int first_column) {
  const TilePlace place = find_key_tile(op.forward.keys, blockIdx.x);
  const Head<Vector> head(op.forward, stride, blockIdx.z, place.sequence, head_number);
  if (place.first >= head.keys) return;
  const FragmentLane lane;
  const int upper = place.first + lane.g, lower = upper + 16;
  uint4 *k = shared, *v = shared + left_bytes<kTerms>(head.width) / sizeof(uint4);
  stage_left<kTerms>(k, head.of_keys(op.forward.k), upper, lower);
  stage_left<kTerms>(v, head.of_keys(op.forward.v), upper, lower);
  __syncthreads();

  const HeadRows<Vector> q = head.of_queries(op.forward.q), dcontext = head.of_queries(op.dcontext);
  const HeadRows<Vector> context = head.of_queries(op.forward.context);
  Sums dk = {}, dv = {};
  for (int first = 16 * warp_index(); first < head.queries; first += 16 * kWarps) {
    const int of_g[2] = {first + lane.g, first + 8 + lane.g};
    float delta[2] = {};  // of these queries
    Scores s, dp;
    scores<kTerms>(s, k, q, of_g);
    scores<kTerms>(dp, v, dcontext, of_g, [&](int half, int column, float4 x) {
      delta[half] += dot(x, context.load_or_zero(context.row(of_g[half]), column));
    });
    delta[0] = quad_sum(delta[0]), delta[1] = quad_sum(delta[1]);
    int mine[4];  // the queries of the lane's columns
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = 2 * lane.t + i % 2;
      mine[i] = first + 8 * (i / 2) + column;
      float x[2] = {s[i / 2][i % 2], s[i / 2][2 + i % 2]}, dx[2] = {dp[i / 2][i % 2], dp[i / 2][2 + i % 2]};
      differentiate(x, dx, head, upper, mine[i], head.stats_or_none(op.forward, mine[i]),
                    __shfl_sync(kAllLanes, delta[i / 2], 4 * column));
      s[i / 2][i % 2] = x[0], s[i / 2][2 + i % 2] = x[1];
      dp[i / 2][i % 2] = dx[0], dp[i / 2][2 + i % 2] = dx[1];
    }
    add_products<kTerms>(dv, s, dcontext, mine, first_column);
    add_products<kTerms>(dk, dp, q, mine, first_column);
  }
  float4* merge = reinterpret_cast<float4*>(shared);
  merge_and_store(merge, dv, head.of_keys(op.dv), upper, lower, first_column, one);
  merge_and_store(merge, dk, head.of_keys(op.dk), upper, lower, first_column, one);
}

// delta[i] = dcontext context of the tile's row i, four lanes a row; by the first two warps.
template <bool Vector>
__device__ __forceinline__ void set_deltas(float* delta, const HeadRows<Vector>& dcontext,
                                           const HeadRows<Vector>& context, int first) {
  const int row = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  if (row >= kRows) return;
  float sum = 0;
  for (int column = 4 * t; column < dcontext.width; column += 16)
    sum +=
        dot(dcontext.load(dcontext.row(first + row), column), context.load_or_zero(context.row(first + row), column));
  sum = quad_sum(sum);
  if (t == 0) delta[row] = sum;
}

// dq: rows are queries, columns keys.
template <bool Vector>
__device__ __forceinline__ void query_tile(const AttentionGrad& op, uint4* shared, int stride, int head_number,
                                           int first_column) {
  __shared__ float deltas[kRows];
  const TilePlace place = find_tile(op.forward.queries, blockIdx.x, kRows);
  const Head<Vector> head(op.forward, stride, blockIdx.z, place.sequence, head_number);
  if (place.first >= head.queries) return;
  const int g = FragmentLane().g, upper = place.first + g, lower = upper + 8;
  const HeadRows<Vector> dcontext = head.of_queries(op.dcontext);
  uint4 *q = shared, *d = shared + left_bytes<kTerms>(head.width) / sizeof(uint4);
  stage_left<kTerms>(q, head.of_queries(op.forward.q), upper, lower);
  stage_left<kTerms>(d, dcontext, upper, lower);
  set_deltas(deltas, dcontext, head.of_queries(op.forward.context), place.first);
  __syncthreads();
  const float2 stats[2] = {head.stats_or_none(op.forward, upper), head.stats_or_none(op.forward, lower)};
  const float delta[2] = {deltas[g], deltas[g + 8]};

  const HeadRows<Vector> k = head.of_keys(op.forward.k), v = head.of_keys(op.forward.v);
  Sums dq = {};
  for (int first = first_key(); first < head.keys; first += kKeysARound) {
    const KeyColumns keys(first);
    Scores s, dp;
    scores<kTerms>(s, q, k, keys.of_g);
    scores<kTerms>(dp, d, v, keys.of_g);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float x[4], dx[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        x[i] = keys.mine[i] < head.keys ? s[i / 2][2 * r + i % 2] : -INFINITY;
        dx[i] = dp[i / 2][2 * r + i % 2];
      }
      differentiate(x, dx, head, keys.mine[0], upper + 8 * r, stats[r], delta[r]);
#pragma unroll
      for (int i = 0; i < 4; ++i) dp[i / 2][2 * r + i % 2] = dx[i];
    }
    add_products<kTerms>(dq, dp, k, keys.mine, first_column);
  }
  merge_and_store(reinterpret_cast<float4*>(shared), dq, head.of_queries(op.dq), upper, lower, first_column, one);
}

// Grid (tiles, 2 kinds x heads x slices, replicas), the kind with more work first.
template <bool Vector>
__global__ void __launch_bounds__(kThreads, 2) any_grad_kernel(const __grid_constant__ AttentionGrad op, int stride) {
  begin_kernel();
  extern __shared__ uint4 shared[];
  const int of_a_kind = gridDim.y / 2, y = blockIdx.y % of_a_kind;
  const int head_number = y % op.forward.heads, first_column = y / op.forward.heads * kColumns;
  if (blockIdx.y < of_a_kind)
    key_tile<Vector>(op, shared, stride, head_number, first_column);
  else
    query_tile<Vector>(op, shared, stride, head_number, first_column);
}

}  // namespace
}  // namespace attention

void attention_any_grad(const AttentionGrad& op, cudaStream_t stream) {
  using namespace attention;
  const Attention& forward = op.forward;
  for_reading(forward, [&](auto vector) {
    const int64_t tiles = std::max(2 * tiles_of(forward.keys, 2 * kRows), tiles_of(forward.queries, kRows));
    const dim3 grid(tiles, 2 * forward.heads * slices_of(forward), forward.context.replicas);
    const size_t bytes = std::max(2 * left_bytes<kTerms>(width_of(forward)), kMergeBytes);
    launch(any_grad_kernel<vector>, grid, kThreads, bytes, stream, op, stride_of(forward));
  });
}

}  // namespace mpq
