// What attention and its gradient share where heads are 32 or 64 wide. A block of eight warps makes 32 rows of one
// (replica, sequence, head): queries for context and dq, keys for dk and dv. The rows that these meet stream through
// shared memory 64 at a time, one step; a warp has one half of the block's rows meet its share of 16 of each step, and
// at the end the shares are added in their order. Which rows a warp takes depends on the sequence alone: no bit depends
// on the rest of the batch.
#pragma once
#include "cuda/attention_head.cuh"
#include "cuda/mma.cuh"
#include "cuda/tf32.cuh"
#include "tensor/device.h"

namespace mpq::attention {

constexpr int kTileRows = 32, kStepRows = 64, kShares = 4;
constexpr int kTileWarps = kTileRows / 16 * kShares, kTileThreads = kTileWarps * kWarp;

__device__ __forceinline__ int half_index() { return warp_index() / kShares; }
__device__ __forceinline__ int share_index() { return warp_index() % kShares; }

// A share is every 16th row and its three neighbours, so that one call of the dropout's generator serves all that a
// lane has of two steps. Column 2 t + i of fragment n of the scores is the step's row first + t + 16 (2 n + i).
__device__ __forceinline__ int first_of_share() { return 4 * share_index(); }

HD int steps_of(int rows) { return (rows + kStepRows - 1) / kStepRows; }

// ---- a step's rows in shared memory ----

// The order of each row's fours of columns depends on the row: lanes read fours t ... of two rows 16 apart, or fours 2
// p and 2 p + 1 of four neighbouring rows, and meet each bank once.
template <int kWidth>
struct StagedRows {
  static constexpr int kFours = kWidth / 4;
  float4 at[kStepRows * kFours];

  static HD int place(int row, int four) { return row * kFours + (four ^ (row % 4 * 2) ^ (row / 16 % 2 * 4)); }
  __device__ __forceinline__ const float4& four(int row, int four) const { return at[place(row, four)]; }

  // Rows first ... first + 63; zeros beyond the last one. To be committed and waited for.
  __device__ __forceinline__ void copy(const HeadRows<true>& from, int first) {
    constexpr int kAtOnce = kTileThreads / kFours;
    const int row = static_cast<int>(threadIdx.x) / kFours, column = static_cast<int>(threadIdx.x) % kFours;
#pragma unroll
    for (int i = 0; i < kStepRows; i += kAtOnce)
      copy_async<16>(&at[place(row + i, column)], from.row(first + row + i) + 4 * column, first + row + i < from.count);
  }
};

// ---- products ----
// Over 16 along k a lane holds four neighbours of either operand, 4 t ... 4 t + 3: as k = t and t + 4 of two steps of
// TF32, or as the two pairs of one step of bf16. Left and right agree, so the sum is over the same pairs.

template <Precision kPrecision>
constexpr int kTerms = kPrecision == Precision::fp32 ? 2 : 1;

template <Precision kPrecision>
struct Left16 {
  LeftFragment<kTerms<kPrecision>> step[2];
  Left16() = default;
  // Of the rows g and g + 8.
  __device__ __forceinline__ Left16(float4 x, float4 y)
      : step{left_fragment<kTerms<kPrecision>>(x.x, y.x, x.y, y.y),
             left_fragment<kTerms<kPrecision>>(x.z, y.z, x.w, y.w)} {}
};
template <>
struct Left16<Precision::bf16> {
  uint4 pairs;
  Left16() = default;
  __device__ __forceinline__ Left16(float4 x, float4 y)
      : pairs{to_bf16(x.x, x.y), to_bf16(y.x, y.y), to_bf16(x.z, x.w), to_bf16(y.z, y.w)} {}
};

template <Precision kPrecision>
__device__ __forceinline__ void multiply_add16(float (&c)[4], const Left16<kPrecision>& a, float4 x) {
  if constexpr (kPrecision == Precision::bf16) {
    const uint32_t pairs[4] = {a.pairs.x, a.pairs.y, a.pairs.z, a.pairs.w};
    multiply_add(c, pairs, to_bf16(x.x, x.y), to_bf16(x.z, x.w));
  } else {
    constexpr int kCount = kTerms<kPrecision>;
    const RightFragment<kCount> b[2] = {right_fragment<kCount>(x.x, x.y), right_fragment<kCount>(x.z, x.w)};
    multiply_add(c, a.step, b);
  }
}

// A block's own rows as left operand, made once.
template <Precision kPrecision, int kWidth>
struct LeftRows {
  static constexpr int kSteps = kWidth / 16, kVectors = sizeof(Left16<kPrecision>) / sizeof(uint4);
  uint4 at[kTileRows / 16][kSteps][kVectors][kWarp];

  // `upper` and `lower` are this lane's rows.
  __device__ __forceinline__ void set(const HeadRows<true>& rows, int upper, int lower) {
    const int column = 4 * FragmentLane().t;
#pragma unroll
    for (int i = 0; i < kSteps; i += kShares) {
      const int step = i + share_index();
      if (step >= kSteps) break;
      const Left16<kPrecision> a(rows.load(rows.row(upper), 16 * step + column),
                                 rows.load(rows.row(lower), 16 * step + column));
#pragma unroll
      for (int v = 0; v < kVectors; ++v) at[half_index()][step][v][lane_id()] = reinterpret_cast<const uint4*>(&a)[v];
    }
  }
  __device__ __forceinline__ Left16<kPrecision> operator[](int step) const {
    Left16<kPrecision> a;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) reinterpret_cast<uint4*>(&a)[i] = at[half_index()][step][i][lane_id()];
    return a;
  }
};

using Scores = float[2][4];  // 16 rows, a share's 16 columns
template <int kWidth>
using Sums = float[kWidth / 32][4][4];  // 16 rows: [32 columns][column % 4][fragment]

// s = left right^T.
template <Precision kPrecision, int kWidth>
__device__ __forceinline__ void scores(Scores& s, const LeftRows<kPrecision, kWidth>& left,
                                       const StagedRows<kWidth>& right) {
  const FragmentLane lane;
  const int row = first_of_share() + lane.g / 2 + lane.g % 2 * 16;
#pragma unroll
  for (int i = 0; i < 8; ++i) s[i / 4][i % 4] = 0;
#pragma unroll
  for (int step = 0; step < kWidth / 16; ++step) {
    const Left16<kPrecision> a = left[step];
#pragma unroll
    for (int n = 0; n < 2; ++n) multiply_add16(s[n], a, right.four(row + 32 * n, 4 * step + lane.t));
  }
}

// sums += p rows. What lies in two fragments of scores is a left operand as it stands.
template <Precision kPrecision, int kWidth>
__device__ __forceinline__ void add_products(Sums<kWidth>& sums, const Scores& p, const StagedRows<kWidth>& rows) {
  const FragmentLane lane;
  const int row = first_of_share() + lane.t;
  const Left16<kPrecision> a({p[0][0], p[0][1], p[1][0], p[1][1]}, {p[0][2], p[0][3], p[1][2], p[1][3]});
#pragma unroll
  for (int group = 0; group < kWidth / 32; ++group) {
    float4 x[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = rows.four(row + 16 * i, 8 * group + lane.g);
    multiply_add16(sums[group][0], a, {x[0].x, x[1].x, x[2].x, x[3].x});
    multiply_add16(sums[group][1], a, {x[0].y, x[1].y, x[2].y, x[3].y});
    multiply_add16(sums[group][2], a, {x[0].z, x[1].z, x[2].z, x[3].z});
    multiply_add16(sums[group][3], a, {x[0].w, x[1].w, x[2].w, x[3].w});
  }
}

// ---- probabilities ----

template <Precision kPrecision>
__device__ __forceinline__ float exponential(float x) {
  if constexpr (kPrecision == Precision::fp32) return expf(x);
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.44269504f));
  return y;
}

// Where a lane's rows are queries: what its four keys of a step are multiplied by for either.
class KeyDropout {
 public:
  __device__ __forceinline__ void start(const Head<true>& head, int step, int upper, int lower) {
    if (!head.dropout.on) return;
    const int query[2] = {upper, lower};
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      if (step % 2 == 0) {
        const int place = first_of_share() + FragmentLane().t;
        const Philox bits = dropout_bits(opaque(head.dropout), step / 2, place, query[r], head.dropout_row);
        now_[r] = {{bits.word[0], bits.word[1]}}, next_[r] = {{bits.word[2], bits.word[3]}};
      } else {
        now_[r] = next_[r];
      }
    }
  }
  __device__ __forceinline__ float factor(const Head<true>& head, int r, int i) const {
    return dropout_factor(head.dropout, Philox{{now_[r].word[0], now_[r].word[1]}}, i);
  }

 private:
  struct Two {
    uint32_t word[2] = {};
  };
  Two now_[2], next_[2];
};

// ---- the sum over the shares ----

// Writes the sum over the shares of weight(warp, row of its 16) * sums; `upper` and `lower` are the lane's rows. All
// threads call it; `merge`, [kTileWarps][kWidth / 8][kWarp], is shared memory that nobody will use any more.
template <int kWidth>
constexpr size_t kMergeBytesOf = sizeof(float4) * kTileThreads* kWidth / 8;
template <int kWidth, class Weight>
__device__ __forceinline__ void merge_and_store(float4* merge, const Sums<kWidth>& sums, const HeadRows<true>& out,
                                                int upper, int lower, Weight weight) {
  constexpr int kParts = kWidth / 8;
  static_assert(kShares == 4, "a warp sums one element of the fragments");
  const FragmentLane lane;
  __syncthreads();
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    const auto& four = sums[part / 4];
    const int i = part % 4;  // row g + 8 (i / 2), columns 8 t + 4 (i % 2) and the next three
    merge[(warp_index() * kParts + part) * kWarp + lane_id()] = {four[0][i], four[1][i], four[2][i], four[3][i]};
  }
  __syncthreads();
  const int i = share_index();
#pragma unroll
  for (int group = 0; group < kWidth / 32; ++group) {
    float4 total = {0, 0, 0, 0};
#pragma unroll
    for (int share = 0; share < kShares; ++share) {
      const int warp = half_index() * kShares + share;
      const float4 x = merge[(warp * kParts + 4 * group + i) * kWarp + lane_id()];
      const float factor = weight(warp, lane.g + 8 * (i / 2));
      total.x += factor * x.x, total.y += factor * x.y, total.z += factor * x.z, total.w += factor * x.w;
    }
    out.store(i / 2 ? lower : upper, 32 * group + 8 * lane.t + 4 * (i % 2), total);
  }
}

// ---- launches ----

template <Precision P>
using AtPrecision = std::integral_constant<Precision, P>;
template <int W>
using Width = std::integral_constant<int, W>;

inline bool has_tiles(const Attention& op) { return width_of(op) == 32 || width_of(op) == 64; }

// Calls run(AtPrecision, Width).
template <class Run>
void for_tile(const Attention& op, Precision precision, Run run) {
  const auto at = [&](auto width) {
    if (precision == Precision::fp32) return run(AtPrecision<Precision::fp32>{}, width);
    if (precision == Precision::tf32) return run(AtPrecision<Precision::tf32>{}, width);
    run(AtPrecision<Precision::bf16>{}, width);
  };
  width_of(op) == 32 ? at(Width<32>{}) : at(Width<64>{});
}

}  // namespace mpq::attention
