// The gradient of attention: probabilities are computed again from each row's maximum and sum (Dao et al.,
// FlashAttention, 2022, section 3.1), and sum_j p dp is the product of context and its gradient (Dao, FlashAttention-2,
// 2023, section 3.1). Blocks of several kinds share a launch: tiles of keys make dk and dv, tiles of queries make dq.
// What more than one needs is computed by each: nothing is added up across blocks.
#include <algorithm>

#include "cuda/attention_paths.cuh"
#include "cuda/attention_tile.cuh"
#include "cuda/cuda_ops.h"

namespace mpq {
namespace attention {
namespace {

// A query's maximum and 1 / sum, or what makes all probabilities zero.
constexpr float2 kNoStats = {INFINITY, 0};
template <Precision kPrecision>
__device__ __forceinline__ float2 in_score_units(float2 stats) {
  return {stats.x * kScoreUnit<kPrecision>, stats.y};
}
template <Precision kPrecision>
__device__ __forceinline__ float2 stats_of(const Attention& op, const Head<true>& head, int query) {
  return query < head.queries ? in_score_units<kPrecision>(*head.stats(op, query)) : kNoStats;
}

// A score and d(dropped p) become the dropped p and d(score) / scale. `stats` as in stats_of.
template <Precision kPrecision>
__device__ __forceinline__ void differentiate(float& s, float& dp, float scale, float factor, float2 stats,
                                              float delta) {
  const float p = exponential<kPrecision>(fmaf(s, scale, -stats.x)) * stats.y;
  s = p * factor;
  dp = p * fmaf(factor, dp, -delta);
}

// ---- dk and dv: rows are keys, columns queries ----

// What a step's probabilities ask of a query: `stats` as in stats_of, the sum over its keys of p dp, and of the
// block's 32 keys the bits that dropout keeps: key c has bit 2 (c % 16 / 4) + c / 16 of byte c % 4.
struct alignas(16) Query {
  float2 stats;
  float delta;
  uint32_t kept;
};

// Queries as they come, step by step: four lanes bring one, each a word of its bits.
class QuerySource {
 public:
  __device__ __forceinline__ QuerySource(const Attention& op, const Head<true>& head, int first_key)
      : left_(head.queries - row_brought()),
        stats_stride_(kStepRows * op.heads),
        stats_(head.stats(op, row_brought())),
        dropout_(head.dropout.on),
        shift_(first_key % 128 / 16) {
    if (!dropout_) return;
    const uint8_t* bytes = head.kept(op, row_brought()) + first_key / 128 * 16;
    kept_ = reinterpret_cast<const uint32_t*>(bytes) + FragmentLane().t;
    kept_stride_ = stats_stride_ * head.kept_bytes(op) / 4;
  }

  __device__ __forceinline__ void fetch() {
    const bool there = left_ > 0;
    next_stats_ = there ? *stats_ : kNoStats;
    if (dropout_) next_kept_ = there ? *kept_ : 0;
    left_ -= kStepRows, stats_ += stats_stride_, kept_ += kept_stride_;
  }
  // What was fetched; all four lanes call it. `delta` is the lane's part.
  template <Precision kPrecision>
  __device__ __forceinline__ Query get(float delta) const {
    uint32_t bits = (next_kept_ >> shift_ & 0x03030303) << 2 * FragmentLane().t;
    bits |= __shfl_xor_sync(kAllLanes, bits, 1);
    bits |= __shfl_xor_sync(kAllLanes, bits, 2);
    return {in_score_units<kPrecision>(next_stats_), quad_sum(delta), bits};
  }

 private:
  int left_, stats_stride_;
  const float2* stats_;
  bool dropout_;
  int shift_;
  const uint32_t* kept_ = nullptr;
  int kept_stride_ = 0;
  float2 next_stats_;
  uint32_t next_kept_ = 0xFFFFFFFF;
};

// Only what a tile of keys asks of a query needs context.
constexpr int kQ = 0, kDcontext = 1, kContext = 2;
// Nothing is under way while both scores and their gradients are held: sums for dk and dv leave no registers for it,
// where two blocks share a multiprocessor.
template <class Tile>
using KeyStream = RowStream<Tile, 2, 3, 2, std::conditional_t<Tile::kWide, Parts<1, 1, 1, 1>, Parts<1, 0, 2, 1>>>;

template <class Tile>
struct KeyShared {
  // What TF32's second terms leave room for.
  static constexpr int kQuerySteps = Tile::kPrecision == Precision::fp32 ? 1 : 2;
  typename KeyStream<Tile>::Shared rows;
  LeftRows<Tile> k, v;
  Query queries[kQuerySteps][kStepRows];
};

template <Precision kPrecision>
__device__ __forceinline__ void differentiate(Scores& s, Scores& dp, const Head<true>& head,
                                              const Query (&queries)[kStepRows]) {
  const float scale = head.scale * kScoreUnit<kPrecision>;
  const auto [g, t] = FragmentLane();
  const uint32_t upper = 1u << (g % 4 * 8 + g / 4 * 2 + half_index()), bit[2] = {upper, upper << 4};  // g, g + 8
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const Query query = queries[first_of_share() + t + 16 * i];
#pragma unroll
    for (int r = 0; r < 2; ++r)
      differentiate<kPrecision>(s[i / 2][2 * r + i % 2], dp[i / 2][2 * r + i % 2], scale,
                                query.kept & bit[r] ? head.dropout.scale : 0, query.stats, query.delta);
  }
}

// A block makes one of them where its sums fill the registers.
template <class Tile, bool kDk, bool kDv>
__device__ __forceinline__ void key_tile(const AttentionGrad& op, uint4* memory, int stride, int head_number) {
  constexpr Precision kPrecision = Tile::kPrecision;
  KeyShared<Tile>& shared = *reinterpret_cast<KeyShared<Tile>*>(memory);
  const TilePlace place = find_tile(op.forward.keys, blockIdx.x, kTileRows);
  const Head<true> head = Tile::head(op.forward, stride, place.sequence, head_number);
  if (place.first >= head.keys) return;
  const TileRows rows(place.first);
  const int steps = steps_of(head.queries);
  QuerySource source(op.forward, head, place.first);
  KeyStream<Tile> stream(shared.rows, query_sources<Tile::kWhole>(head, op.forward.q, op.dcontext, op.forward.context),
                         steps);
  float delta = 0;  // of the thread's part of the query that comes
  const auto add_delta = [&](int, const float4(&x)[3]) {
    if constexpr (kDk) delta += dot(x[kDcontext], x[kContext]);
  };
  source.fetch();
  stream.start(add_delta);
  shared.k.set(head.of_keys(op.forward.k), rows);
  if constexpr (kDk) shared.v.set(head.of_keys(op.forward.v), rows);
  Sums<Tile::kWidth> dk = {}, dv = {};
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    auto& queries = shared.queries[step % shared.kQuerySteps];
    stream.arrive(step, add_delta);
    const Query query = source.template get<kPrecision>(delta);
    delta = 0;
    if (shared.kQuerySteps == 1) __syncthreads();  // nobody reads the queries before these any more
    if (FragmentLane().t == 0) queries[row_brought()] = query;
    __syncthreads();  // all of the step is there, and nobody reads the step before it any more
    if (step + 1 < steps) source.fetch();
    stream.template bring<0>(step, add_delta);
    if (step * kStepRows + first_of_share() >= head.queries) break;  // the last step
    Scores s, dp = {};
    scores(s, shared.k, stream.rows(kQ, step));
    if constexpr (kDk) scores(dp, shared.v, stream.rows(kDcontext, step));
    stream.template bring<1>(step, add_delta);
    differentiate<kPrecision>(s, dp, head, queries);
    stream.template bring<2>(step, add_delta);
    if constexpr (kDv) add_products<kPrecision>(dv, s, stream.rows(kDcontext, step));
    stream.template bring<3>(step, add_delta);
    if constexpr (kDk) add_products<kPrecision>(dk, dp, stream.rows(kQ, step));
  }
  const auto store = [&](const Sums<Tile::kWidth>& sums, const Tensor& to, float factor) {
    merge_and_store<Tile>(shared.rows, sums, head.of_keys(to), place.first, [&](int, int) { return factor; });
  };
  if constexpr (kDv) store(dv, op.dv, 1);
  if constexpr (kDk) store(dk, op.dk, head.scale);
}

// ---- dq: rows are queries, columns keys ----

template <class Tile>
using QueryStream = RowStream<Tile, 2, 2, 2, Parts<2, 2>>;  // k, v

template <class Tile>
struct QueryShared {
  typename QueryStream<Tile>::Shared rows;
  LeftRows<Tile> q, dcontext;
};

// dcontext context of a query, by the four lanes of a row.
template <class Tile>
__device__ __forceinline__ float delta_of(const HeadRows<true>& dcontext, const HeadRows<true>& context, int query) {
  const int mine = 4 * FragmentLane().t;
  const float *x = dcontext.row(query) + mine, *y = context.row(query) + mine;
  float sum = 0;
#pragma unroll
  for (int column = 0; column < Tile::kWidth; column += 16)
    if (Tile::kWhole || column + mine < context.width) sum += dot(dcontext.load(x, column), context.load(y, column));
  return quad_sum(sum);
}

template <class Tile>
__device__ __forceinline__ void query_tile(const AttentionGrad& op, uint4* memory, int stride, int head_number) {
  constexpr Precision kPrecision = Tile::kPrecision;
  QueryShared<Tile>& shared = *reinterpret_cast<QueryShared<Tile>*>(memory);
  const TilePlace place = find_tile(op.forward.queries, blockIdx.x, kTileRows);
  const Head<true> head = Tile::head(op.forward, stride, place.sequence, head_number);
  if (place.first >= head.queries) return;
  const TileRows rows(place.first);
  const int steps = steps_of(head.keys);
  QueryStream<Tile> stream(shared.rows, key_sources<Tile::kWhole>(head, op.forward.k, op.forward.v), steps);
  stream.start(Unseen{});
  const HeadRows<true> dcontext = head.of_queries(op.dcontext), context = head.of_queries(op.forward.context);
  shared.q.set(head.of_queries(op.forward.q), rows);
  shared.dcontext.set(dcontext, rows);
  const float delta[2] = {delta_of<Tile>(dcontext, context, rows.upper), delta_of<Tile>(dcontext, context, rows.lower)};
  const float2 stats[2] = {stats_of<kPrecision>(op.forward, head, rows.upper),
                           stats_of<kPrecision>(op.forward, head, rows.lower)};
  const float scale = head.scale * kScoreUnit<kPrecision>;
  Sums<Tile::kWidth> dq = {};
  KeyDropout dropout(op.forward, head, rows);
  dropout.fetch(0);
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    stream.arrive(step, Unseen{});
    __syncthreads();  // all of the step is there, and nobody reads the step before it any more
    stream.template bring<0>(step, Unseen{});
    const int first = step * kStepRows + first_of_share();
    if (first >= head.keys) break;  // the last step
    dropout.read(step, steps);
    Scores s, dp;
    scores(s, shared.q, stream.rows(0, step));
    scores(dp, shared.dcontext, stream.rows(1, step));
    stream.template bring<1>(step, Unseen{});
    leave_out(s, head.keys - first);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int n = i / 4, e = i % 4, r = e / 2, mine = 2 * n + e % 2;
      differentiate<kPrecision>(s[n][e], dp[n][e], scale, dropout.factor(r, mine), stats[r], delta[r]);
    }
    add_products<kPrecision>(dq, dp, stream.rows(0, step));
  }
  merge_and_store<Tile>(shared.rows, dq, head.of_queries(op.dq), place.first, [&](int, int) { return head.scale; });
}

// ---- launch ----

// Blocks of so many kinds: dk and dv apart, where heads are the widest.
template <class Tile>
constexpr int kKinds = Tile::kWidth > 128 ? 3 : 2;

// Grid (tiles, kinds x heads, replicas), the kind with most work first.
template <class Tile>
__global__ void __launch_bounds__(kTileThreads, Tile::kWide ? 1 : 2)
    attention_grad_kernel(const __grid_constant__ AttentionGrad op, int stride) {
  begin_kernel();
  extern __shared__ uint4 memory[];
  const int heads = op.forward.heads, place = blockIdx.y;
  if (place < heads)
    key_tile<Tile, true, kKinds<Tile> == 2>(op, memory, stride, place);
  else if (kKinds<Tile> == 2 || place < 2 * heads)
    query_tile<Tile>(op, memory, stride, place - heads);
  else if constexpr (kKinds<Tile> == 3)
    key_tile<Tile, false, true>(op, memory, stride, place - 2 * heads);
}

void attention_tiles_grad(const AttentionGrad& op, Precision precision, cudaStream_t stream) {
  const Attention& forward = op.forward;
  for_tile(forward, precision, [&]<class Tile>(Tile) {
    constexpr size_t bytes = std::max(sizeof(KeyShared<Tile>), sizeof(QueryShared<Tile>));
    static_assert(bytes <= kWidestBytes);
    const int64_t tiles = std::max(tiles_of(forward.keys, kTileRows), tiles_of(forward.queries, kTileRows));
    const dim3 grid(tiles, kKinds<Tile> * forward.heads, forward.context.replicas);
    launch(attention_grad_kernel<Tile>, grid, kTileThreads, bytes, stream, op, stride_of(forward));
  });
}

}  // namespace
}  // namespace attention

void CudaOps::attention_grad(const AttentionGrad& op) {
  if (op.forward.queries.longest == 1)
    attention_first_grad(op, main_.stream);
  else if (attention::tile_width(op.forward, precision_) > 0)
    attention::attention_tiles_grad(op, precision_, main_.stream);
  else
    attention_any_grad(op, main_.stream);
}

}  // namespace mpq
