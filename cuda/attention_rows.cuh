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

__device__ __forceinline__ int half_index() { return static_cast<int>(threadIdx.x / (kShares * kWarp)); }
__device__ __forceinline__ int share_index() { return static_cast<int>(threadIdx.x / kWarp % kShares); }

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
__device__ __forceinline__ int row_brought() { return static_cast<int>(threadIdx.x / 4); }

// The thread's parts of a step's rows of kCount tensors, step by step.
template <int kCount>
class Sources {
 public:
  template <class... Rows>
  __device__ __forceinline__ explicit Sources(const HeadRows<true>& first, const Rows&... more)
      : at_{part_of(first), part_of(more)...}, left_(first.count - row_brought()), stride_(kStepRows * first.stride) {}

  __device__ __forceinline__ const float* operator[](int n) const { return at_[n]; }
  __device__ __forceinline__ bool there() const { return left_ > 0; }  // or the row is beyond the last one
  __device__ __forceinline__ void next() {
#pragma unroll
    for (int n = 0; n < kCount; ++n) at_[n] += stride_;
    left_ -= kStepRows;
  }

 private:
  static __device__ __forceinline__ const float* part_of(const HeadRows<true>& rows) {
    return rows.first + int64_t{row_brought()} * rows.stride + 4 * FragmentLane().t;
  }
  const float* at_[kCount];
  int left_, stride_;
};

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
  // Zeros where the row is not there. To be committed and waited for.
  __device__ __forceinline__ void copy(const float* from, bool there) {
#pragma unroll
    for (int i = 0; i < kWidth / 16; ++i)
      copy_async<16>(&at_[place(row_brought(), FragmentLane().t + 4 * i)], from + 16 * i, there);
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
  template <int N>
  __device__ __forceinline__ void fetch(const Sources<N>& from, int step) {
#pragma unroll
    for (int n = 0; n < kCount; ++n) stage_[step % kStages][n].copy(from[n], from.there());
  }
  // Waits for what the thread has brought of the step, and shows it: see(operand, i, four t + 4 i of the row). Once all
  // threads have done so, the rows are there.
  template <class See>
  __device__ __forceinline__ void publish(int step, See see) {
    wait_for_copies<kAhead - 1>();
#pragma unroll
    for (int i = 0; i < kCount * kWidth / 16; ++i)
      see(i % kCount, i / kCount, rows(i % kCount, step).brought(i / kCount));
  }
  __device__ __forceinline__ const FloatRows<kWidth>& rows(int n, int step) const { return stage_[step % kStages][n]; }

 private:
  FloatRows<kWidth> stage_[kStages][kCount];
};

// ---- bf16 ----

// What each thread has brought, for itself.
template <int kWidth>
class Brought {
 public:
  __device__ __forceinline__ void copy(const float* from, bool there) {
#pragma unroll
    for (int i = 0; i < kWidth / 16; ++i) copy_async<16>(&at_[i][threadIdx.x], from + 16 * i, there);
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
  // Four t + 4 i of the row that the thread brings.
  __device__ __forceinline__ void set(int i, float4 x) {
    const unsigned row = threadIdx.x / 4, share = row / 4 % kShares, t = row % 4, four = row / 16;
    uint4* to = at_[16 * share + four / 2 * 8 + 2 * t + four % 2];
    reinterpret_cast<uint2*>(to)[FragmentLane().t + 4 * i] = {to_bf16(x.x, x.y), to_bf16(x.z, x.w)};
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

  template <int N>
  __device__ __forceinline__ void fetch(const Sources<N>& from, int) {
#pragma unroll
    for (int n = 0; n < kCount; ++n) brought_[n].copy(from[n], from.there());
  }
  template <class See>
  __device__ __forceinline__ void publish(int step, See see) {
    wait_for_copies<0>();
#pragma unroll
    for (int n = 0; n < kCount; ++n) {
      float4 x[kWidth / 16];
#pragma unroll
      for (int i = 0; i < kWidth / 16; ++i) x[i] = brought_[n][i];
#pragma unroll
      for (int i = 0; i < kWidth / 16; ++i) see(n, i, x[i]), stage_[step % 2][n].set(i, x[i]);
    }
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
