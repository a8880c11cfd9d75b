// The gradient of attention: probabilities are computed again from each row's maximum and sum (Dao et al.,
// FlashAttention, 2022, section 3.1), and sum_j p dp is the product of context and its gradient (Dao, FlashAttention-2,
// 2023, section 3.1). Blocks of two kinds share a launch: tiles of keys make dk and dv, tiles of queries make dq. What
// both need they compute twice: nothing is added up across blocks.
#include <algorithm>

#include "cuda/attention_paths.cuh"
#include "cuda/attention_tile.cuh"
#include "cuda/cuda_ops.h"

namespace mpq {
namespace attention {
namespace {

// A score and d(dropped p) become the dropped p and d(score) / scale. `stats` as in Attention.
template <Precision kPrecision>
__device__ __forceinline__ void differentiate(float& s, float& dp, float scale, float factor, float2 stats,
                                              float delta) {
  const float p = exponential<kPrecision>(fmaf(s, scale, -stats.x)) * stats.y;
  s = p * factor;
  dp = p * fmaf(factor, dp, -delta);
}

// ---- dk and dv: rows are keys, columns queries ----

static_assert(kTileThreads == 4 * kStepRows);
__device__ __forceinline__ int row_of_four_lanes() { return static_cast<int>(threadIdx.x) / 4; }

template <Precision kPrecision, int kWidth>
struct KeyShared {
  struct Stage {
    StagedRows<kWidth> q, dcontext;
  } stage[2];
  StagedRows<kWidth> context;
  LeftRows<kPrecision, kWidth> k, v;
  float2 stats[kStepRows];
  float delta[kStepRows];  // sum_j p dp of a query
};

// What a step's probabilities ask of its queries, four lanes a query; `stats` are those of this lane's.
template <Precision kPrecision, int kWidth>
__device__ __forceinline__ void set_queries(KeyShared<kPrecision, kWidth>& shared, const StagedRows<kWidth>& dcontext,
                                            float2 stats) {
  const int row = row_of_four_lanes(), t = FragmentLane().t;
  float sum = 0;
#pragma unroll
  for (int four = 0; four < kWidth / 4; four += 4)
    sum += dot(dcontext.four(row, four + t), shared.context.four(row, four + t));
  sum = quad_sum(sum);
  if (t == 0) shared.stats[row] = stats, shared.delta[row] = sum;
}

// The lane's keys are `upper` and upper + 16: one call of the dropout's generator a query serves both.
template <Precision kPrecision, int kWidth>
__device__ __forceinline__ void differentiate(Scores& s, Scores& dp, const Head<true>& head, int upper, int step,
                                              const KeyShared<kPrecision, kWidth>& shared) {
  const int first = first_of_share() + FragmentLane().t;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = first + 16 * i;
    float factor[2];
    dropout_factors(factor, head, upper, step * kStepRows + row);
#pragma unroll
    for (int r = 0; r < 2; ++r)
      differentiate<kPrecision>(s[i / 2][2 * r + i % 2], dp[i / 2][2 * r + i % 2], head.scale, factor[r],
                                shared.stats[row], shared.delta[row]);
  }
}

template <Precision kPrecision, int kWidth>
__device__ __forceinline__ void key_tile(const AttentionGrad& op, KeyShared<kPrecision, kWidth>& shared, int stride,
                                         int head_number) {
  const TilePlace place = find_tile(op.forward.keys, blockIdx.x, kTileRows);
  const Head<true> head(op.forward, stride, blockIdx.z, place.sequence, head_number);
  if (place.first >= head.keys) return;
  const int upper = place.first + 8 * half_index() + FragmentLane().g, lower = upper + 16;
  const HeadRows<true> q = head.of_queries(op.forward.q), dcontext = head.of_queries(op.dcontext);
  const HeadRows<true> context = head.of_queries(op.forward.context);
  const int steps = steps_of(head.queries);
  float2 stats;
  const auto fetch = [&](int step) {
    if (step >= steps) return;
    const int first = step * kStepRows;
    shared.stage[step % 2].q.copy(q, first);
    shared.stage[step % 2].dcontext.copy(dcontext, first);
    shared.context.copy(context, first);
    commit_copies();
    stats = head.stats_or_none(op.forward, first + row_of_four_lanes());
  };

  fetch(0);
  shared.k.set(head.of_keys(op.forward.k), upper, lower);
  shared.v.set(head.of_keys(op.forward.v), upper, lower);
  Sums<kWidth> dk = {}, dv = {};
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    const auto& stage = shared.stage[step % 2];
    wait_for_copies<0>();
    __syncthreads();  // all of the step is there, and nobody reads the step before it any more
    set_queries(shared, stage.dcontext, stats);
    __syncthreads();  // they are set, and nobody reads the context any more
    fetch(step + 1);
    if (step * kStepRows + first_of_share() >= head.queries) break;  // the last step
    Scores s, dp;
    scores(s, shared.k, stage.q);
    scores(dp, shared.v, stage.dcontext);
    differentiate(s, dp, head, upper, step, shared);
    add_products<kPrecision>(dv, s, stage.dcontext);
    add_products<kPrecision>(dk, dp, stage.q);
  }
  static_assert(sizeof(shared.stage) >= kMergeBytesOf<kWidth>);
  float4* merge = reinterpret_cast<float4*>(shared.stage);
  merge_and_store<kWidth>(merge, dv, head.of_keys(op.dv), upper, lower, [](int, int) { return 1.0f; });
  merge_and_store<kWidth>(merge, dk, head.of_keys(op.dk), upper, lower, [&](int, int) { return head.scale; });
}

// ---- dq: rows are queries, columns keys ----

template <Precision kPrecision, int kWidth>
struct QueryShared {
  struct Stage {
    StagedRows<kWidth> k, v;
  } stage[2];
  LeftRows<kPrecision, kWidth> q, dcontext;
};

// dcontext context of a query, by the four lanes of a row.
template <int kWidth>
__device__ __forceinline__ float delta_of(const HeadRows<true>& dcontext, const HeadRows<true>& context, int query) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kWidth; i += 16) {
    const int column = i + 4 * FragmentLane().t;
    sum += dot(dcontext.load(dcontext.row(query), column), context.load(context.row(query), column));
  }
  return quad_sum(sum);
}

template <Precision kPrecision, int kWidth>
__device__ __forceinline__ void query_tile(const AttentionGrad& op, QueryShared<kPrecision, kWidth>& shared, int stride,
                                           int head_number) {
  const TilePlace place = find_tile(op.forward.queries, blockIdx.x, kTileRows);
  const Head<true> head(op.forward, stride, blockIdx.z, place.sequence, head_number);
  if (place.first >= head.queries) return;
  const int upper = place.first + 16 * half_index() + FragmentLane().g, lower = upper + 8;
  const HeadRows<true> k = head.of_keys(op.forward.k), v = head.of_keys(op.forward.v);
  const int steps = steps_of(head.keys);
  const auto fetch = [&](int step) {
    if (step >= steps) return;
    shared.stage[step % 2].k.copy(k, step * kStepRows);
    shared.stage[step % 2].v.copy(v, step * kStepRows);
    commit_copies();
  };

  fetch(0);
  const HeadRows<true> dcontext = head.of_queries(op.dcontext), context = head.of_queries(op.forward.context);
  shared.q.set(head.of_queries(op.forward.q), upper, lower);
  shared.dcontext.set(dcontext, upper, lower);
  const float delta[2] = {delta_of<kWidth>(dcontext, context, upper), delta_of<kWidth>(dcontext, context, lower)};
  const float2 stats[2] = {head.stats_or_none(op.forward, upper), head.stats_or_none(op.forward, lower)};
  Sums<kWidth> dq = {};
  KeyDropout dropout;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    const auto& stage = shared.stage[step % 2];
    wait_for_copies<0>();
    __syncthreads();  // all of the step is there, and nobody reads the step before it any more
    fetch(step + 1);
    const int first = step * kStepRows + first_of_share();
    if (first >= head.keys) break;  // the last step
    dropout.start(head, step, upper, lower);
    Scores s, dp;
    scores(s, shared.q, stage.k);
    scores(dp, shared.dcontext, stage.v);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int n = i / 4, e = i % 4, r = e / 2, mine = 2 * n + e % 2;
      if (first + FragmentLane().t + 16 * mine >= head.keys) s[n][e] = -INFINITY;
      differentiate<kPrecision>(s[n][e], dp[n][e], head.scale, dropout.factor(head, r, mine), stats[r], delta[r]);
    }
    add_products<kPrecision>(dq, dp, stage.k);
  }
  static_assert(sizeof(shared.stage) >= kMergeBytesOf<kWidth>);
  merge_and_store<kWidth>(reinterpret_cast<float4*>(shared.stage), dq, head.of_queries(op.dq), upper, lower,
                          [&](int, int) { return head.scale; });
}

// ---- launch ----

// Grid (tiles, 2 kinds x heads, replicas), the kind with more work first.
template <Precision kPrecision, int kWidth>
__global__ void __launch_bounds__(kTileThreads, 2)
    attention_grad_kernel(const __grid_constant__ AttentionGrad op, int stride) {
  begin_kernel();
  extern __shared__ uint4 memory[];
  const int heads = op.forward.heads;
  if (blockIdx.y < heads)
    key_tile(op, *reinterpret_cast<KeyShared<kPrecision, kWidth>*>(memory), stride, blockIdx.y);
  else
    query_tile(op, *reinterpret_cast<QueryShared<kPrecision, kWidth>*>(memory), stride, blockIdx.y - heads);
}

void attention_tiles_grad(const AttentionGrad& op, Precision precision, cudaStream_t stream) {
  const Attention& forward = op.forward;
  for_tile(forward, precision, [&](auto at, auto width) {
    const int64_t tiles = std::max(tiles_of(forward.keys, kTileRows), tiles_of(forward.queries, kTileRows));
    const dim3 grid(tiles, 2 * forward.heads, forward.context.replicas);
    const size_t bytes = std::max(sizeof(KeyShared<at, width>), sizeof(QueryShared<at, width>));
    launch(attention_grad_kernel<at, width>, grid, kTileThreads, bytes, stream, op, stride_of(forward));
  });
}

}  // namespace
}  // namespace attention

void CudaOps::attention_grad(const AttentionGrad& op) {
  if (op.forward.queries.longest == 1)
    attention_first_grad(op, main_.stream);
  else if (attention::has_tiles(op.forward))
    attention::attention_tiles_grad(op, precision_, main_.stream);
  else
    attention_any_grad(op, main_.stream);
}

}  // namespace mpq
