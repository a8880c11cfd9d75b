// Attention, fused over ragged rows, with the softmax built up as keys come (Dao et al., FlashAttention, 2022, section
// 3.1).
#include "cuda/attention_paths.cuh"
#include "cuda/attention_tile.cuh"
#include "cuda/cuda_ops.h"
#include "cuda/quantize.cuh"

namespace mpq {
namespace attention {
namespace {

// Softmax of a warp's share of the keys, for the lane's two rows.
struct Softmax {
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
};

// By how much exponents may pass the maximum they are taken over before there is a new one: 2^8 of sums that have 24
// bits harms nothing, and the sums so far need not be multiplied anew in every step. With fp32 it is the maximum
// itself.
template <Precision kPrecision>
constexpr float kTopSlack = kPrecision == Precision::fp32 ? 0.0f : 8.0f;

// A row's new scores become exponentials over the maximum so far. Returns what the sums so far are to be multiplied by.
template <Precision kPrecision>
__device__ __forceinline__ float absorb(float (&x)[4], float& top, float& sum, float scale) {
  const float before = top, largest = quad_max(fmaxf(fmaxf(x[0], x[1]), fmaxf(x[2], x[3]))) * scale;
  top = largest > before + kTopSlack<kPrecision> ? largest : before;
  const float rescale = exponential<kPrecision>(before - top);
  sum *= rescale;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    x[i] = exponential<kPrecision>(fmaf(x[i], scale, -top));
    sum += x[i];
  }
  return rescale;
}

// Scores of a share's keys become the left operand of the values.
template <class Tile>
__device__ __forceinline__ void absorb(Scores& s, Softmax& softmax, Sums<Tile::kWidth>& sums, float scale,
                                       const KeyDropout& dropout) {
  float rescale[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float x[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = s[i / 2][2 * r + i % 2];
    rescale[r] = absorb<Tile::kPrecision>(x, softmax.top[r], softmax.sum[r], scale);
#pragma unroll
    for (int i = 0; i < 4; ++i) s[i / 2][2 * r + i % 2] = x[i] * dropout.factor(r, i);
  }
  if (!__any_sync(kAllLanes, rescale[0] != 1 || rescale[1] != 1)) return;
#pragma unroll
  for (int i = 0; i < Tile::kWidth / 2; ++i) sums[i / 16][i / 4 % 4][i % 4] *= rescale[i / 2 % 2];
}

// What every warp's sums count for in each row, from the maximum and sum that each has seen.
struct Shares {
  float2 seen[kTileWarps][16];
  float weight[kTileWarps][16];

  __device__ __forceinline__ void set(const Softmax& softmax) {
    const FragmentLane lane;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = quad_sum(softmax.sum[r]);
      if (lane.t == 0) seen[warp_index()][8 * r + lane.g] = {softmax.top[r], sum};
    }
  }
  // Of one of the block's rows, after set by all warps: {maximum, 1 / sum}.
  template <Precision kPrecision>
  __device__ __forceinline__ float2 weigh(int row) {
    const int first = row / 16 * kShares;
    row %= 16;
    float top = -INFINITY, sum = 0;
    for (int w = first; w < first + kShares; ++w) top = fmaxf(top, seen[w][row].x);
    for (int w = first; w < first + kShares; ++w) {
      weight[w][row] = exponential<kPrecision>(seen[w][row].x - top);
      sum += weight[w][row] * seen[w][row].y;
    }
    const float inverse = 1.0f / sum;
    for (int w = first; w < first + kShares; ++w) weight[w][row] *= inverse;
    return {top * (1 / kScoreUnit<kPrecision>), inverse};
  }
};

// k and v. Two blocks of floats share a multiprocessor; stages are what TF32's second terms leave room for.
template <class Tile>
using ForwardStream = RowStream<Tile, 2, 2, Tile::kPrecision == Precision::fp32 ? 2 : 3, Parts<1, 2, 1>>;

// Rows of context, and their copies.
struct ContextRows {
  HeadRows<true> rows;
  const Head<true>& head;
  const ElementCopies& copies;

  __device__ __forceinline__ void store(int i, int column, float4 x) const {
    rows.store(i, column, x);
    if (i < rows.count && column < rows.width)
      store_copies(copies, head.replica, head.query_row + i, head.head * rows.width + column, x);
  }
};

template <class Tile>
struct ForwardShared {
  typename ForwardStream<Tile>::Shared rows;
  LeftRows<Tile> q;
  Shares shares;
};

// Grid (tiles of queries, heads, replicas).
template <class Tile>
__global__ void __launch_bounds__(kTileThreads, Tile::kWide                           ? 1
                                                : Tile::kPrecision == Precision::bf16 ? 3
                                                                                      : 2)
    attention_kernel(const __grid_constant__ Attention op, const __grid_constant__ ElementCopies copies, int stride) {
  begin_kernel();
  extern __shared__ uint4 memory[];
  constexpr Precision kPrecision = Tile::kPrecision;
  ForwardShared<Tile>& shared = *reinterpret_cast<ForwardShared<Tile>*>(memory);
  const TilePlace place = find_tile(op.queries, blockIdx.x, kTileRows);
  const Head<true> head = Tile::head(op, stride, place.sequence, blockIdx.y);
  if (place.first >= head.queries) return;
  const TileRows rows(place.first);
  const int steps = steps_of(head.keys);
  ForwardStream<Tile> stream(shared.rows, key_sources<Tile::kWhole>(head, op.k, op.v), steps);
  stream.start(Unseen{});
  shared.q.set(head.of_queries(op.q), rows);
  Sums<Tile::kWidth> sums = {};
  Softmax softmax;
  KeyDropout dropout(op, head, rows);
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    stream.arrive(step, Unseen{});
    __syncthreads();  // all of the step is there, and nobody reads the step before it any more
    stream.template bring<0>(step, Unseen{});
    const int first = step * kStepRows + first_of_share();
    if (first >= head.keys) break;  // the last step
    dropout.draw(head, step);
    Scores s;
    scores(s, shared.q, stream.rows(0, step));
    stream.template bring<1>(step, Unseen{});
    leave_out(s, head.keys - first);
    absorb<Tile>(s, softmax, sums, head.scale * kScoreUnit<kPrecision>, dropout);
    stream.template bring<2>(step, Unseen{});
    add_products<kPrecision>(sums, s, stream.rows(1, step));
  }

  shared.shares.set(softmax);
  __syncthreads();
  if (const int row = threadIdx.x; row < kTileRows) {
    const float2 stats = shared.shares.template weigh<kPrecision>(row);
    if (place.first + row < head.queries) *head.stats(op, place.first + row) = stats;
  }
  const ContextRows context{head.of_queries(op.context), head, copies};
  merge_and_store<Tile>(shared.rows, sums, context, place.first,
                        [&](int warp, int row) { return shared.shares.weight[warp][row]; });
}

void attention_tiles(const Attention& op, const ElementCopies& copies, Precision precision, cudaStream_t stream) {
  check(op.dropout.p <= 0 || op.kept, "attention with dropout needs room for what it keeps");
  for_tile(op, precision, [&]<class Tile>(Tile) {
    static_assert(sizeof(ForwardShared<Tile>) <= kWidestBytes);
    const dim3 grid(tiles_of(op.queries, kTileRows), op.heads, op.context.replicas);
    launch(attention_kernel<Tile>, grid, kTileThreads, sizeof(ForwardShared<Tile>), stream, op, copies, stride_of(op));
  });
}

}  // namespace
}  // namespace attention

void CudaOps::attention(const Attention& op) {
  const bool first = op.queries.longest == 1, tiles = attention::tile_width(op, precision_) > 0;
  const ElementCopies copies = first || tiles ? ElementCopies(op.quantized) : ElementCopies();
  if (first)
    attention_first(op, copies, main_.stream);
  else if (tiles)
    attention::attention_tiles(op, copies, precision_, main_.stream);
  else
    attention_any(op, main_.stream);
  if (copies.count == 0) mpq::quantize_copies(op.quantized, op.context, op.queries, main_);
}

}  // namespace mpq
