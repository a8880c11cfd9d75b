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

// What a kernel is compiled for: heads of kWidth columns, or (not kWhole) of a multiple of four below, with zeros
// beyond.
template <Precision P, int W, bool Whole>
struct TileKind {
  static constexpr Precision kPrecision = P;
  static constexpr int kWidth = W;
  static constexpr bool kWhole = Whole;
  static constexpr bool kWide = W > 64;  // a block has a multiprocessor for itself

  static __device__ __forceinline__ Head<true> head(const Attention& op, int stride, int sequence, int number) {
    return {op, stride, static_cast<int>(blockIdx.z), sequence, number, kWhole ? kWidth : stride / op.heads};
  }
};

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

// The thread's parts of a step's rows of kCount tensors of one shape, step by step: addresses that all threads share,
// and one offset. kWhole: heads are as wide as the tile.
template <int kCount, bool kWhole>
class Sources {
 public:
  template <class... Tensors>
  __device__ __forceinline__ Sources(const Head<true>& head, int first, int rows, const Tensors&... tensors)
      : base_{tensors.f32(head.replica)...},
        offset_((int64_t{first} + row_brought()) * head.stride + head.head * head.width + 4 * FragmentLane().t),
        left_(rows - row_brought()),
        stride_(kStepRows * head.stride),
        columns_(head.width - 4 * FragmentLane().t) {}

  __device__ __forceinline__ const float* operator[](int n) const { return base_[n] + offset_; }
  __device__ __forceinline__ bool there() const { return left_ > 0; }  // or the row is beyond the last one
  // Of the four t + 4 i: or it is beyond the last column.
  __device__ __forceinline__ bool there(int i) const { return there() && (kWhole || 16 * i < columns_); }
  __device__ __forceinline__ void next() { offset_ += stride_, left_ -= kStepRows; }

 private:
  const float* base_[kCount];
  int64_t offset_;
  int left_, stride_, columns_;
};
template <bool kWhole, class... Tensors>
__device__ __forceinline__ auto query_sources(const Head<true>& head, const Tensors&... tensors) {
  return Sources<sizeof...(Tensors), kWhole>(head, head.query_row, head.queries, tensors...);
}
template <bool kWhole, class... Tensors>
__device__ __forceinline__ auto key_sources(const Head<true>& head, const Tensors&... tensors) {
  return Sources<sizeof...(Tensors), kWhole>(head, head.key_row, head.keys, tensors...);
}

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
      copy_async(&at_[place(row_brought(), FragmentLane().t + 4 * i)], from + 16 * i, there);
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

// What each thread has brought of kCount tensors, for itself.
template <int kWidth, int kCount>
class Brought {
 public:
  __device__ __forceinline__ void copy(int n, const float* from, bool there) {
#pragma unroll
    for (int i = 0; i < kWidth / 16; ++i) copy_async(&at_[n][i][threadIdx.x], from + 16 * i, there);
  }
  __device__ __forceinline__ float4 get(int n, int i) const { return at_[n][i][threadIdx.x]; }

 private:
  float4 at_[kCount][kWidth / 16][kTileThreads];
};
template <int kWidth>
class Brought<kWidth, 0> {};

// A thread's side of a stream of kAll tensors: the first kCount are operands, their rows kept for kStages steps in
// shared memory, and the rest are only shown to the thread that brings them. Here copies bring a whole step at once.
template <int kWidth, int kCount, int kAll, int kStages>
class FloatStream {
 public:
  struct Shared : Brought<kWidth, kAll - kCount> {
    FloatRows<kWidth> stage[kStages][kCount];
  };
  __device__ __forceinline__ FloatStream(Shared& shared, const Sources<kAll, true>& from, int steps)
      : shared_(shared), from_(from), steps_(steps) {}

  // What must be under way before the first step. show(i, fours t + 4 i of a row of each tensor) is called once for all
  // that the thread brings, by the time of `arrive` at its step.
  template <class Show>
  __device__ __forceinline__ void start(Show) {
#pragma unroll
    for (int step = 0; step < kAhead; ++step) copy(step);
  }
  // Part kPart of what comes while the products of `step` are made, once nobody reads the step before it any more: all
  // threads call it for the parts in their order.
  template <int kPart, class Show>
  __device__ __forceinline__ void bring(int step, Show) {
    if constexpr (kPart == 0) copy(step + kAhead);
  }
  // Once all threads have returned, the step's rows are there.
  template <class Show>
  __device__ __forceinline__ void arrive(int step, Show show) {
    wait_for_copies<kAhead - 1>();
#pragma unroll
    for (int i = 0; i < kWidth / 16; ++i) {
      float4 x[kAll];
#pragma unroll
      for (int n = 0; n < kCount; ++n) x[n] = rows(n, step).brought(i);
      if constexpr (kAll > kCount)
#pragma unroll
        for (int n = kCount; n < kAll; ++n) x[n] = shared_.get(n - kCount, i);
      show(i, x);
    }
  }
  __device__ __forceinline__ const FloatRows<kWidth>& rows(int n, int step) const {
    return shared_.stage[step % kStages][n];
  }

 private:
  static constexpr int kAhead = kStages - 1;

  __device__ __forceinline__ void copy(int step) {
    if (step < steps_) {
#pragma unroll
      for (int n = 0; n < kCount; ++n) shared_.stage[step % kStages][n].copy(from_[n], from_.there());
      if constexpr (kAll > kCount)
#pragma unroll
        for (int n = kCount; n < kAll; ++n) shared_.copy(n - kCount, from_[n], from_.there());
      from_.next();
    }
    commit_copies();
  }

  Shared& shared_;
  Sources<kAll, true> from_;
  int steps_;
};

// ---- bf16 ----

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

// What comes of a row while the products of a step are made, part by part, in quarters of the row.
template <int... kQuarters>
struct Parts {
  static constexpr int kCount = sizeof...(kQuarters);
  // Quarters before a part.
  static constexpr int before(int part) {
    const int quarters[] = {kQuarters...};
    int sum = 0;
    for (int i = 0; i < part; ++i) sum += quarters[i];
    return sum;
  }
  static_assert((kQuarters + ...) == 4);
};

// The same functions. Rows pass through registers, so that shared memory sees them in 16 bits only: a part is loaded
// when it is called for, and stored when the next one is.
template <int kWidth, bool kWhole, int kCount, int kAll, class RowParts>
class RoundedStream {
 public:
  struct Shared {
    RoundedRows<kWidth> stage[2][kCount];
  };
  __device__ __forceinline__ RoundedStream(Shared& shared, const Sources<kAll, kWhole>& from, int steps)
      : shared_(shared), from_(from), steps_(steps) {}

  template <class Show>
  __device__ __forceinline__ void start(Show show) {
    float4 first[kFours][kAll];
#pragma unroll
    for (int i = 0; i < kFours; ++i) load(first[i], i);
    from_.next();
#pragma unroll
    for (int i = 0; i < kFours; ++i) store(first[i], i, 0, show);
  }
  template <int kPart, class Show>
  __device__ __forceinline__ void bring(int step, Show show) {
    if constexpr (kPart > 0)
      if (step + 1 < steps_) store_part<kPart - 1>(step + 1, show);
#pragma unroll
    for (int i = kFirst<kPart>; i < kFirst<kPart + 1>; ++i) load(coming_[i], i);
    if constexpr (kPart == kLast) from_.next();
  }
  template <class Show>
  __device__ __forceinline__ void arrive(int step, Show show) {
    if (step > 0) store_part<kLast>(step, show);
  }
  __device__ __forceinline__ const RoundedRows<kWidth>& rows(int n, int step) const {
    return shared_.stage[step % 2][n];
  }

 private:
  static constexpr int kFours = kWidth / 16, kLast = RowParts::kCount - 1;
  template <int kPart>
  static constexpr int kFirst = RowParts::before(kPart) * kFours / 4;

  __device__ __forceinline__ void load(float4 (&x)[kAll], int i) const {
#pragma unroll
    for (int n = 0; n < kAll; ++n)
      x[n] = from_.there(i) ? __ldg(reinterpret_cast<const float4*>(from_[n] + 16 * i)) : float4{0, 0, 0, 0};
  }
  template <class Show>
  __device__ __forceinline__ void store(const float4 (&x)[kAll], int i, int step, Show show) {
#pragma unroll
    for (int n = 0; n < kCount; ++n) shared_.stage[step % 2][n].set(i, x[n]);
    show(i, x);
  }
  template <int kPart, class Show>
  __device__ __forceinline__ void store_part(int step, Show show) {
#pragma unroll
    for (int i = kFirst<kPart>; i < kFirst<kPart + 1>; ++i) store(coming_[i], i, step, show);
  }

  Shared& shared_;
  Sources<kAll, kWhole> from_;
  int steps_;
  float4 coming_[kFours][kAll];
};

// Of kAll tensors, kCount of them operands. `kStages` is what floats have room for, `RowParts` what registers have.
template <class Tile, int kCount, int kAll, int kStages, class RowParts>
using RowStream = std::conditional_t<Tile::kPrecision == Precision::bf16,
                                     RoundedStream<Tile::kWidth, Tile::kWhole, kCount, kAll, RowParts>,
                                     FloatStream<Tile::kWidth, kCount, kAll, kStages>>;

// Nobody looks at what comes.
struct Unseen {
  template <int N>
  __device__ __forceinline__ void operator()(int, const float4 (&)[N]) const {}
};

}  // namespace mpq::attention
