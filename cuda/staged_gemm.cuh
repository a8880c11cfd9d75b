// The tile engine of large products in bf16: a block brings 32 along k of its rows and columns at a time, rounds them
// once, and its warps take their fragments from shared memory. The sums are those of gemm.cuh, bit for bit: which k
// stands where in a fragment is the same.
#pragma once
#include "cuda/gemm.cuh"

namespace mpq {

#ifdef __CUDACC__

constexpr int kStageDepth = 32;

// Where k stands among the 16 of a step: a lane's four neighbours become the pairs t and t + 4 of a fragment (Terms).
__device__ __forceinline__ int place_of_k(int k) { return k / 16 * 16 + k % 4 / 2 * 8 + k % 16 / 4 * 2 + k % 2; }

// An operand's share of a stage, kWidth rows or columns wide: first on its way, in the registers of kThreads threads
// (two stages at once), then in shared memory.
template <Along kAlong, int kWidth, int kThreads>
class Stage {
  static constexpr bool kRow = kAlong == Along::row;
  static constexpr int kLine = kRow ? kStageDepth : kWidth, kLines = kRow ? kWidth : kStageDepth;
  static constexpr int kStride = kLine + 8;  // an odd number of 16 bytes: the eight rows of a block meet each bank once
  static constexpr int kFours = kWidth * kStageDepth / 4 / kThreads;
  static constexpr int kApart = kThreads / (kWidth / 4);  // along k, from one of a thread's vectors to its next

 public:
  struct Shared {
    alignas(16) uint16_t value[kLines * kStride];
  };

  // Beyond the last row or column comes one that is there: nobody stores what it makes.
  __device__ __forceinline__ Stage(const Operand& m, int first) : data_(m.data), cols_(m.cols) {
    if constexpr (kRow) {
#pragma unroll
      for (int i = 0; i < kFours; ++i) offset_[i] = min(first + row(i), m.rows - 1) * m.cols + k_of(i);
    } else {
      offset_[0] = k_of(0) * m.cols + min(first + column(), m.cols - 4);
    }
  }

  // From k on; zeros from k = last.
  __device__ __forceinline__ void load(int slot, int k, int last) {
    const float* from = data_ + (kRow ? int64_t{k} : int64_t{k} * cols_);
    if (k + kStageDepth <= last) {
#pragma unroll
      for (int i = 0; i < kFours; ++i) v_[slot][i] = at(from, i);
    } else {
#pragma unroll
      for (int i = 0; i < kFours; ++i) v_[slot][i] = k + k_of(i) < last ? at(from, i) : float4{};
    }
  }
  __device__ __forceinline__ void store(int slot, Shared& to) const {
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      const float4 v = v_[slot][i];
      const uint32_t low = to_bf16(v.x, v.y), high = to_bf16(v.z, v.w);
      if constexpr (kRow) {
        uint16_t* pairs = to.value + row(i) * kStride + place_of_k(k_of(i));
        *reinterpret_cast<uint32_t*>(pairs) = low;
        *reinterpret_cast<uint32_t*>(pairs + 8) = high;
      } else {
        *reinterpret_cast<uint2*>(to.value + place_of_k(k_of(i)) * kStride + column()) = {low, high};
      }
    }
  }

  // Fragments of 16 along the span from `first` and 16 along k from k: a left operand's, or those of two right ones.
  static __device__ __forceinline__ void left(uint32_t (&a)[4], const Shared& from, int first, int k) {
    fragment(a, from, first + lane_id() / 8 % 2 * 8, k + lane_id() / 16 * 8);
  }
  static __device__ __forceinline__ void right(uint32_t (&b)[4], const Shared& from, int first, int k) {
    fragment(b, from, first + lane_id() / 16 * 8, k + lane_id() / 8 % 2 * 8);
  }

 private:
  // Lanes 8i ... 8i + 7 name block i of 8 x 8, where it begins along the span and along k.
  static __device__ __forceinline__ void fragment(uint32_t (&to)[4], const Shared& from, int span, int k) {
    const int line = lane_id() % 8;
    if constexpr (kRow)
      load_blocks(to, from.value + (span + line) * kStride + k);
    else
      load_blocks_transposed(to, from.value + (k + line) * kStride + span);
  }

  // Where the thread's vector i lies. k along the rows: a warp takes 8 rows of 16. Else whole lines, one after the
  // other.
  static __device__ __forceinline__ int unit(int i) { return warp_id() + i * (kThreads / kWarp); }
  static __device__ __forceinline__ int row(int i) { return unit(i) / 2 * 8 + lane_id() / 4; }
  static __device__ __forceinline__ int column() { return static_cast<int>(threadIdx.x) % (kWidth / 4) * 4; }
  static __device__ __forceinline__ int k_of(int i) {
    if constexpr (kRow) return unit(i) % 2 * 16 + lane_id() % 4 * 4;
    return static_cast<int>(threadIdx.x) / (kWidth / 4) + i * kApart;
  }
  __device__ __forceinline__ float4 at(const float* from, int i) const {
    return *reinterpret_cast<const float4*>(from + (kRow ? offset_[i] : offset_[0] + i * kApart * cols_));
  }

  const float* data_;
  int cols_, offset_[kRow ? kFours : 1];
  float4 v_[2][kFours];
};

// One block's tile of a product, in the place of Gemm.
template <class Shape, Along kAlongA, Along kAlongB>
class StagedGemm : public Gemm<Shape, Precision::bf16, Along::row, Along::row> {
  using Base = Gemm<Shape, Precision::bf16, Along::row, Along::row>;  // its fragments' rows and columns are in order
  using A = Stage<kAlongA, kRowsOf<Shape>, kThreadsOf<Shape>>;
  using B = Stage<kAlongB, kColsOf<Shape>, kThreadsOf<Shape>>;
  struct Stages {
    typename A::Shared a[2];
    typename B::Shared b[2];
  };

 public:
  struct Shared {
    typename Base::Shared sums;
    Stages stages;
  };
  __device__ explicit StagedGemm(Shared& shared) : Base(shared.sums), shared_(shared) {}

  // All threads of the block call it.
  __device__ __forceinline__ TileSums run(const GemmSegment& s) const {
    A a(s.a, s.a_span);
    B b(s.b, s.b_span);
    const auto load = [&](int slot, const Place& place) {
      if (place.there()) a.load(slot, place.k, place.end), b.load(slot, place.k, place.end);
    };
    const auto store = [&](int slot) { a.store(slot, shared_.stages.a[slot]), b.store(slot, shared_.stages.b[slot]); };
    TileSums sums;
    bool parked = false;
    Place place = Place::first(s), next = place.next();
    load(0, place), load(1, next);
    __syncthreads();  // nobody reads sums or stages of an earlier call any more
    store(0);
    __syncthreads();
    const auto step = [&](auto slot) {  // of what is stored there; false: it was the last
      constexpr int i = decltype(slot)::value;
      const Place after = next.next();
      load(i, after);
      multiply(shared_.stages.a[i], shared_.stages.b[i], sums);
      if (next.there()) store(i ^ 1);
      __syncthreads();
      if (next.there() && next.end != place.end) {  // a half is complete
        park(sums);
        parked = true;
      }
      place = next, next = after;
      return place.there();
    };
    while (step(std::integral_constant<int, 0>()) && step(std::integral_constant<int, 1>())) {
    }
    if (parked) add_parked(sums);
    return sums;
  }

 private:
  // A stage's place along k: the end of its half, and of all.
  struct Place {
    int k, end, last;
    static __device__ __forceinline__ Place first(const GemmSegment& s) {
      const int length = (s.last - s.first + kHalves * kDepth - 1) / (kHalves * kDepth) * kDepth;
      return {s.first, min(s.first + length, s.last), s.last};
    }
    __device__ __forceinline__ Place next() const {
      return k + kStageDepth < end ? Place{k + kStageDepth, end, last} : Place{end, last, last};
    }
    __device__ __forceinline__ bool there() const { return k < last; }
  };

  static __device__ __forceinline__ void multiply(const typename A::Shared& from_a, const typename B::Shared& from_b,
                                                  TileSums& sums) {
    const int row0 = warp_id() / Shape::kWarpsN * kSpan, col0 = warp_id() % Shape::kWarpsN * kSpan;
#pragma unroll
    for (int k = 0; k < kStageDepth; k += kDepth) {
      uint32_t a[2][4], b[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        A::left(a[i], from_a, row0 + 16 * i, k);
        B::right(b[i], from_b, col0 + 16 * i, k);
      }
#pragma unroll
      for (int n = 0; n < 4; ++n)
#pragma unroll
        for (int m = 0; m < 2; ++m) multiply_add(sums.at[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
    }
  }

  // The first half's sums wait in the warp's own memory: registers are for what is on its way.
  __device__ __forceinline__ float* parking() const { return shared_.sums.tile[warp_id()] + lane_id(); }
  __device__ __forceinline__ void park(TileSums& sums) const {
#pragma unroll
    for (int i = 0; i < 32; ++i) parking()[i * kWarp] = sums.at[i / 16][i / 4 % 4][i % 4];
    sums = TileSums();
  }
  __device__ __forceinline__ void add_parked(TileSums& sums) const {
#pragma unroll
    for (int i = 0; i < 32; ++i) {
      float& sum = sums.at[i / 16][i / 4 % 4][i % 4];
      sum = parking()[i * kWarp] + sum;
    }
  }

  Shared& shared_;
};

// The engine of a shape.
template <class Shape, Precision kPrecision, Along kAlongA, Along kAlongB>
using Product =
    std::conditional_t<Shape::kStaged, StagedGemm<Shape, kAlongA, kAlongB>, Gemm<Shape, kPrecision, kAlongA, kAlongB>>;
// Its shared memory, which the launch asks for.
template <class Product>
__device__ __forceinline__ typename Product::Shared& shared_of() {
  extern __shared__ float4 product_memory[];
  return *reinterpret_cast<typename Product::Shared*>(product_memory);
}

#endif

}  // namespace mpq
