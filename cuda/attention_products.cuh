// The products of attention's tiles: 16 rows of a block with 16 rows of a step, at each precision.
#pragma once
#include "cuda/attention_rows.cuh"
#include "cuda/tf32.cuh"

namespace mpq::attention {

template <Precision kPrecision>
constexpr int kTerms = kPrecision == Precision::fp32 ? 2 : 1;

// A left operand, 16 along k, of the rows g and g + 8: as two steps of TF32, or as one of bf16. Of TF32 a lane holds
// four neighbours along k, as k = t and t + 4 of both steps; left and right agree, so the sum is over the same pairs.
template <Precision kPrecision>
struct Left16 {
  LeftFragment<kTerms<kPrecision>> step[2];
  Left16() = default;
  __device__ __forceinline__ Left16(float4 x, float4 y)
      : step{left_fragment<kTerms<kPrecision>>(x.x, y.x, x.y, y.y),
             left_fragment<kTerms<kPrecision>>(x.z, y.z, x.w, y.w)} {}
  // Of rows in memory.
  __device__ __forceinline__ Left16(const float* x, const float* y) : Left16(mine(x), mine(y)) {}

 private:
  static __device__ __forceinline__ float4 mine(const float* row) {
    return __ldg(reinterpret_cast<const float4*>(row) + FragmentLane().t);
  }
};
template <>
struct Left16<Precision::bf16> {
  uint32_t pairs[4];
  Left16() = default;
  __device__ __forceinline__ Left16(float4 x, float4 y)
      : pairs{to_bf16(x.x, x.y), to_bf16(y.x, y.y), to_bf16(x.z, x.w), to_bf16(y.z, y.w)} {}
  // Of rows in memory, of which so many columns are left.
  __device__ __forceinline__ Left16(const float* x, const float* y, int columns = 16)
      : Left16(mine(x, columns), mine(y, columns)) {}

 private:
  static __device__ __forceinline__ float4 mine(const float* row, int columns) {
    const float2* pairs = reinterpret_cast<const float2*>(row) + FragmentLane().t;
    const auto pair = [&](int i) { return 2 * (FragmentLane().t + i) < columns ? __ldg(pairs + i) : float2{0, 0}; };
    const float2 x = pair(0), y = pair(4);
    return {x.x, x.y, y.x, y.y};
  }
};

template <Precision kPrecision>
__device__ __forceinline__ void multiply_add16(float (&c)[4], const Left16<kPrecision>& a, float4 x) {
  constexpr int kCount = kTerms<kPrecision>;
  const RightFragment<kCount> b[2] = {right_fragment<kCount>(x.x, x.y), right_fragment<kCount>(x.z, x.w)};
  multiply_add(c, a.step, b);
}
__device__ __forceinline__ void multiply_add16(float (&c)[4], const Left16<Precision::bf16>& a, uint2 x) {
  multiply_add(c, a.pairs, x.x, x.y);
}

// A block's own rows as left operand, made once.
template <class Tile>
class LeftRows {
 public:
  __device__ __forceinline__ void set(const HeadRows<true>& from, const TileRows& rows) {
    const float *upper = from.row(rows.upper), *lower = from.row(rows.lower);
#pragma unroll
    for (int i = 0; i < kSteps; i += kShares) {
      const int step = i + share_index();
      if (step >= kSteps) break;
      const Left a = left16(upper + 16 * step, lower + 16 * step, from.width - 16 * step);
#pragma unroll
      for (int v = 0; v < kVectors; ++v) at_[half_index()][step][v][lane_id()] = reinterpret_cast<const uint4*>(&a)[v];
    }
  }
  __device__ __forceinline__ auto operator[](int step) const {
    Left a;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) reinterpret_cast<uint4*>(&a)[i] = at_[half_index()][step][i][lane_id()];
    return a;
  }

 private:
  using Left = Left16<Tile::kPrecision>;
  static constexpr int kSteps = Tile::kWidth / 16, kVectors = sizeof(Left) / sizeof(uint4);

  static __device__ __forceinline__ Left left16(const float* upper, const float* lower, int columns) {
    if constexpr (Tile::kWhole)
      return {upper, lower};
    else
      return {upper, lower, columns};
  }

  uint4 at_[kTileRows / 16][kSteps][kVectors][kWarp];
};

using Scores = float[2][4];  // 16 rows, a share's 16 columns
template <int kWidth>
using Sums = float[kWidth / 32][4][4];  // 16 rows: [32 columns][fragment, whose columns the rows' class says][]

// s = left right^T.
template <class Tile, class Rows>
__device__ __forceinline__ void scores(Scores& s, const LeftRows<Tile>& left, const Rows& right) {
#pragma unroll
  for (int i = 0; i < 8; ++i) s[i / 4][i % 4] = 0;
#pragma unroll
  for (int step = 0; step < Tile::kWidth / 16; ++step) {
    const auto a = left[step];
    const auto b = right.transposed(step);
#pragma unroll
    for (int n = 0; n < 2; ++n) multiply_add16(s[n], a, b.of[n]);
  }
}

// sums += p rows. What lies in two fragments of scores is a left operand as it stands.
template <Precision kPrecision, int kGroups, class Rows>
__device__ __forceinline__ void add_products(float (&sums)[kGroups][4][4], const Scores& p, const Rows& rows) {
  const Left16<kPrecision> a(float4{p[0][0], p[0][1], p[1][0], p[1][1]}, float4{p[0][2], p[0][3], p[1][2], p[1][3]});
#pragma unroll
  for (int group = 0; group < kGroups; ++group) {
    const auto b = rows.as_they_are(group);
#pragma unroll
    for (int j = 0; j < 4; ++j) multiply_add16(sums[group][j], a, b.of[j]);
  }
}

}  // namespace mpq::attention
