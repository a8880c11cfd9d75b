// Rows on their way to the tensor cores: a step's 64 rows stream from global into shared memory, each thread bringing a
// quarter of a row, and become right operands there. Two classes of rows, with the same functions: floats, which every
// reader splits or rounds to TF32, and floats rounded to bf16 once, when they come.
#pragma once
#include <type_traits>

#include "cuda/attention_head.cuh"
#include "cuda/mma.cuh"
#include "tensor/device.h"

namespace mpq::attention {

constexpr int kTileRows = 32, kStepRows = 64, kShares = 4;
constexpr int kTileWarps = kTileRows / 16 * kShares, kTileThreads = kTileWarps * kWarp;

__device__ __forceinline__ int half_index() { return warp_index() / kShares; }
__device__ __forceinline__ int share_index() { return warp_index() % kShares; }

// A share is every 16th row of a step and its three neighbours, so that one call of the dropout's generator serves all
// that a lane has of two steps. Column 2 t + i of fragment n of the scores is the step's row first + t + 16 (2 n + i).
__device__ __forceinline__ int first_of_share() { return 4 * share_index(); }

// The lane's rows g and g + 8 of its half of the block's.
struct TileRows {
  int upper, lower;
  __device__ __forceinline__ explicit TileRows(int first)
      : upper(first + 16 * half_index() + FragmentLane().g), lower(upper + 8) {}
};

HD int steps_of(int rows) { return (rows + kStepRows - 1) / kStepRows; }

// A thread brings the fours of columns t, t + 4 ... of one row of a step.
static_assert(kTileThreads == 4 * kStepRows);
__device__ __forceinline__ int row_brought() { return static_cast<int>(threadIdx.x) / 4; }

// Right operands of several fragments.
template <class T, int N>
struct Fragments {
  T of[N];
};

// ---- floats ----

// The order of each row's fours of columns depends on the row: lanes read fours t ... of two rows 16 apart, or fours 2
// p and 2 p + 1 of four neighbouring rows, and meet each bank once.
template <int kWidth>
class FloatRows {
 public:
  // Zeros beyond the last row. To be committed and waited for.
  __device__ __forceinline__ void copy(const HeadRows<true>& from, int step) {
    const int row = step * kStepRows + row_brought();
    const float* columns = from.row(row);
#pragma unroll
    for (int four = FragmentLane().t; four < kFours; four += 4)
      copy_async<16>(&at_[place(row_brought(), four)], columns + 4 * four, row < from.count);
  }
  // Four t + 4 i of the thread's row.
  __device__ __forceinline__ float4 brought(int i) const { return four(row_brought(), FragmentLane().t + 4 * i); }

  // Right operands of both fragments of scores, 16 columns along k.
  __device__ __forceinline__ Fragments<float4, 2> transposed(int step) const {
    const FragmentLane lane;
    const int row = first_of_share() + lane.g / 2 + lane.g % 2 * 16;
    return {four(row, 4 * step + lane.t), four(row + 32, 4 * step + lane.t)};
  }
  // Right operands of a group of 32 columns, the share's rows along k: column 4 g + j in fragment j.
  __device__ __forceinline__ Fragments<float4, 4> as_they_are(int group) const {
    const FragmentLane lane;
    float4 x[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) x[i] = four(first_of_share() + lane.t + 16 * i, 8 * group + lane.g);
    return {{{x[0].x, x[1].x, x[2].x, x[3].x},
             {x[0].y, x[1].y, x[2].y, x[3].y},
             {x[0].z, x[1].z, x[2].z, x[3].z},
             {x[0].w, x[1].w, x[2].w, x[3].w}}};
  }

 private:
  static constexpr int kFours = kWidth / 4;
  static HD int place(int row, int four) { return row * kFours + (four ^ (row % 4 * 2) ^ (row / 16 % 2 * 4)); }
  __device__ __forceinline__ const float4& four(int row, int four) const { return at_[place(row, four)]; }

  float4 at_[kStepRows * kFours];
};

// kCount operands, kStages steps of each.
template <int kWidth, int kCount, int kStages>
class FloatStream {
 public:
  static constexpr int kAhead = kStages - 1;  // steps to fetch before the first one is needed

  // To be committed.
  __device__ __forceinline__ void fetch(const HeadRows<true> (&from)[kCount], int step) {
#pragma unroll
    for (int n = 0; n < kCount; ++n) stage_[step % kStages][n].copy(from[n], step);
  }
  // What the thread has brought of the step is there; once all have published theirs, the rows are.
  __device__ __forceinline__ void wait() { wait_for_copies<kAhead - 1>(); }
  __device__ __forceinline__ float4 brought(int n, int step, int i) const { return rows(n, step).brought(i); }
  __device__ __forceinline__ void publish(int) {}
  __device__ __forceinline__ const FloatRows<kWidth>& rows(int n, int step) const { return stage_[step % kStages][n]; }

 private:
  FloatRows<kWidth> stage_[kStages][kCount];
};

// ---- bf16 ----

// What each thread has brought, for itself.
template <int kWidth>
class Brought {
 public:
  __device__ __forceinline__ void copy(const HeadRows<true>& from, int step) {
    const int row = step * kStepRows + row_brought();
    const float* columns = from.row(row) + 4 * FragmentLane().t;
#pragma unroll
    for (int i = 0; i < kWidth / 16; ++i) copy_async<16>(&at_[i][threadIdx.x], columns + 16 * i, row < from.count);
  }
  __device__ __forceinline__ float4 operator[](int i) const { return at_[i][threadIdx.x]; }

 private:
  float4 at_[kWidth / 16][kTileThreads];
};

// A share's rows are neighbours, in the order of their columns in the scores, and 16 bytes between rows keep eight of
// them on different banks.
template <int kWidth>
class RoundedRows {
 public:
  __device__ __forceinline__ void set(const Brought<kWidth>& from) {
    const int row = row_brought(), share = row / 4 % kShares, t = row % 4, i = row / 16;
    const int place = 16 * share + i / 2 * 8 + 2 * t + i % 2;
#pragma unroll
    for (int i = 0; i < kWidth / 16; ++i) {
      const float4 x = from[i];
      reinterpret_cast<uint2*>(at_[place])[FragmentLane().t + 4 * i] = {to_bf16(x.x, x.y), to_bf16(x.z, x.w)};
    }
  }
  __device__ __forceinline__ Fragments<uint2, 2> transposed(int step) const {
    uint32_t x[4];
    load_blocks(x, &at_[place(lane_id() / 16)][2 * step + lane_id() / 8 % 2]);
    return {{{x[0], x[1]}, {x[2], x[3]}}};
  }
  // Column 8 j + g in fragment j.
  __device__ __forceinline__ Fragments<uint2, 4> as_they_are(int group) const {
    uint32_t x[2][4];
#pragma unroll
    for (int i = 0; i < 2; ++i)
      load_blocks_transposed(x[i], &at_[place(lane_id() / 8 % 2)][4 * group + 2 * i + lane_id() / 16]);
    return {{{x[0][0], x[0][1]}, {x[0][2], x[0][3]}, {x[1][0], x[1][1]}, {x[1][2], x[1][3]}}};
  }

 private:
  // The row that the lane points at in a block of the lower or the upper eight of its share.
  static __device__ __forceinline__ int place(int eight) { return 16 * share_index() + 8 * eight + lane_id() % 8; }

  uint4 at_[kStepRows][kWidth / 8 + 1];
};

template <int kWidth, int kCount>
class RoundedStream {
 public:
  static constexpr int kAhead = 1;

  __device__ __forceinline__ void fetch(const HeadRows<true> (&from)[kCount], int step) {
#pragma unroll
    for (int n = 0; n < kCount; ++n) brought_[n].copy(from[n], step);
  }
  __device__ __forceinline__ void wait() { wait_for_copies<0>(); }
  __device__ __forceinline__ float4 brought(int n, int, int i) const { return brought_[n][i]; }
  __device__ __forceinline__ void publish(int step) {
#pragma unroll
    for (int n = 0; n < kCount; ++n) stage_[step % 2][n].set(brought_[n]);
  }
  __device__ __forceinline__ const RoundedRows<kWidth>& rows(int n, int step) const { return stage_[step % 2][n]; }

 private:
  Brought<kWidth> brought_[kCount];
  RoundedRows<kWidth> stage_[2][kCount];
};

// A step's rows of kCount operands. `kStages` is what floats have room for.
template <Precision kPrecision, int kWidth, int kCount, int kStages>
using RowStream = std::conditional_t<kPrecision == Precision::bf16, RoundedStream<kWidth, kCount>,
                                     FloatStream<kWidth, kCount, kStages>>;

}  // namespace mpq::attention
