// The tile engine of large products in bf16: a block brings 32 along k of its rows and columns at a time, rounds them
// once, and its warps take their fragments from shared memory. The sums are those of gemm.cuh, bit for bit: which k
// stands where in a fragment is the same.
#pragma once
#include "cuda/gemm.cuh"
#include "cuda/opaque.cuh"

namespace mpq {

#ifdef __CUDACC__

constexpr int kStageDepth = 32;

// Where k stands among the 16 of a step: a lane's four neighbours become the pairs t and t + 4 of a fragment (Terms).
// Its bits change places: sums of numbers without a common bit may be taken apart.
__device__ __forceinline__ int place_of_k(int k) { return k / 16 * 16 + k % 4 / 2 * 8 + k % 16 / 4 * 2 + k % 2; }

// An operand's share of a stage, kWidth rows or columns wide: first on its way, in the registers of kThreads threads,
// then in shared memory.
template <Along kAlong, int kWidth, int kThreads, int kLength = kStageDepth>
class Stage {
  static constexpr bool kRow = kAlong == Along::row;
  static constexpr int kLine = kRow ? kLength : kWidth, kLines = kRow ? kWidth : kLength;
  static constexpr int kStride = kLine + 8;  // an odd number of 16 bytes: the eight rows of a block meet each bank once
  static constexpr int kFours = kWidth * kLength / 4 / kThreads;
  static constexpr int kApart = kThreads / (kWidth / 4);  // along k, from one of a thread's vectors to its next
  static constexpr int kSteps = kLength / kDepth;         // of k; as many warps share a row
  static_assert(kThreads / kWarp % kSteps == 0);          // rows: all of a thread's vectors begin at the same k

 public:
  struct Shared {
    alignas(16) uint16_t value[kLines * kStride];
  };

  // Beyond the last row or column comes one that is there: nobody stores what it makes.
  __device__ __forceinline__ Stage(const Operand& m, int first)
      : cols_(m.cols),
        stored_(opaque(kRow ? row0() * kStride + place_of_k(k0()) : place_of_k(k0()) * kStride + column())) {
    if constexpr (kRow) {
      from_ = m.data + k0();
#pragma unroll
      for (int i = 0; i < kFours; ++i) offset_[i] = min(first + row0() + i * kRowsApart, m.rows - 1) * m.cols;
    } else {
      from_ = m.data + k0() * m.cols + min(first + column(), m.cols - 4);
    }
  }

  // From k on; zeros from k = last.
  __device__ __forceinline__ void load(int k, int last) {
    const float* from = opaque(from_ + (kRow ? int64_t{k} : int64_t{k} * cols_));
    if (k + kLength <= last) {
#pragma unroll
      for (int i = 0; i < kFours; ++i) v_[i] = at(from, i);
    } else {
#pragma unroll
      for (int i = 0; i < kFours; ++i) v_[i] = k + k0() + (kRow ? 0 : i * kApart) < last ? at(from, i) : float4{};
    }
  }
  __device__ __forceinline__ void store(Shared& to) const {
    uint16_t* first = to.value + stored_;
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      const uint32_t low = to_bf16(v_[i].x, v_[i].y), high = to_bf16(v_[i].z, v_[i].w);
      if constexpr (kRow) {
        uint16_t* pairs = first + i * kRowsApart * kStride;
        *reinterpret_cast<uint32_t*>(pairs) = low;
        *reinterpret_cast<uint32_t*>(pairs + 8) = high;
      } else {
        *reinterpret_cast<uint2*>(first + place_of_k(i * kApart) * kStride) = {low, high};
      }
    }
  }

  // Where the lane looks for fragments of the 32 along the span from `first`: a left operand's, or those of two right
  // ones. Lanes 8i ... 8i + 7 name block i of 8 x 8, where it begins along the span and along k.
  static __device__ __forceinline__ int left(int first) {
    return place(first + lane_id() / 8 % 2 * 8, lane_id() / 16 * 8);
  }
  static __device__ __forceinline__ int right(int first) {
    return place(first + lane_id() / 16 * 8, lane_id() / 8 % 2 * 8);
  }
  // The fragments 16 i along the span and k along k from there.
  static __device__ __forceinline__ void fragment(uint32_t (&to)[4], const Shared& from, int at, int i, int k) {
    if constexpr (kRow)
      load_blocks(to, from.value + at + 16 * i * kStride + k);
    else
      load_blocks_transposed(to, from.value + at + k * kStride + 16 * i);
  }

 private:
  static __device__ __forceinline__ int place(int span, int k) {
    const int line = lane_id() % 8;
    return opaque(kRow ? (span + line) * kStride + k : (k + line) * kStride + span);
  }

  // Where the thread's first vector lies. k along the rows: warps take 8 rows of 16 along k. Else whole lines, one
  // after the other.
  static constexpr int kRowsApart = kThreads / kWarp / kSteps * 8;
  static __device__ __forceinline__ int row0() { return warp_id() / kSteps * 8 + lane_id() / 4; }
  static __device__ __forceinline__ int column() { return static_cast<int>(threadIdx.x) % (kWidth / 4) * 4; }
  static __device__ __forceinline__ int k0() {
    return kRow ? warp_id() % kSteps * kDepth + lane_id() % 4 * 4 : static_cast<int>(threadIdx.x) / (kWidth / 4);
  }
  __device__ __forceinline__ float4 at(const float* from, int i) const {
    return __ldg(reinterpret_cast<const float4*>(from + (kRow ? offset_[i] : i * kApart * cols_)));
  }

  const float* from_;
  int cols_, stored_, offset_[kRow ? kFours : 1];
  float4 v_[kFours];
};

// A warp's sums, in memory of its own: registers are for what is on its way.
class WaitingSums {
 public:
  // Where the warp's sums go on their way to rows, while none are.
  static __device__ __forceinline__ WaitingSums& in(float* tile) { return *reinterpret_cast<WaitingSums*>(tile); }

  __device__ __forceinline__ void take(const TileSums& sums) {
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      const float(&x)[4] = sums.at[i / 4][i % 4];
      fours_[i][lane_id()] = {x[0], x[1], x[2], x[3]};
    }
  }
  // What waited comes first.
  __device__ __forceinline__ void add_to(TileSums& sums) const {
#pragma unroll
    for (int i = 0; i < kFours; ++i) {
      float(&x)[4] = sums.at[i / 4][i % 4];
      const float4 before = fours_[i][lane_id()];
      x[0] = before.x + x[0], x[1] = before.y + x[1], x[2] = before.z + x[2], x[3] = before.w + x[3];
    }
  }

 private:
  static constexpr int kFours = 8;  // of a thread
  float4 fours_[kFours][kWarp];
};

// The products of 16 along k from k on, out of the stages of a and b.
template <class A, class B>
__device__ __forceinline__ void multiply_step(const typename A::Shared& of_a, const typename B::Shared& of_b, int left,
                                              int right, int k, TileSums& sums) {
  uint32_t a[2][4], b[2][4];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    A::fragment(a[i], of_a, left, i, k);
    B::fragment(b[i], of_b, right, i, k);
  }
#pragma unroll
  for (int n = 0; n < 4; ++n)
#pragma unroll
    for (int m = 0; m < 2; ++m) multiply_add(sums.at[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
}

// One block's tile of a product, in the place of Gemm.
template <class Shape, Along kAlongA, Along kAlongB>
class StagedGemm : public Gemm<Shape, Precision::bf16, Along::row, Along::row> {
  using Base = Gemm<Shape, Precision::bf16, Along::row, Along::row>;  // its fragments' rows and columns are in order
  using A = Stage<kAlongA, kRowsOf<Shape>, kThreadsOf<Shape>>;
  using B = Stage<kAlongB, kColsOf<Shape>, kThreadsOf<Shape>>;
  struct Stages {
    typename A::Shared a;
    typename B::Shared b;
  };
  static constexpr bool kChunked = kAlongA == Along::column;  // a sum over rows

 public:
  struct Shared {
    typename Base::Shared sums;
    WaitingSums totals[kChunked ? kThreadsOf<Shape> / kWarp : 1];
    Stages stages[2];
  };
  __device__ explicit StagedGemm(Shared& shared) : Base(shared.sums), shared_(shared) {}

  // All threads of the block call it. The sum over chunks of k, where it is one.
  __device__ __forceinline__ TileSums run(const GemmSegment& s, int chunk) const {
    A a(s.a, s.a_span);
    B b(s.b, s.b_span);
    const int left = A::left(warp_id() / Shape::kWarpsN * kSpan), right = B::right(warp_id() % Shape::kWarpsN * kSpan);
    TileSums sums;
    bool parked = false, kept = false;  // the half before; the chunks before
    Place place = Place::first(s.first, s.last, chunk);
    const auto load = [&] { a.load(place.k, place.end), b.load(place.k, place.end); };
    const auto store = [&](Stages& to) { a.store(to.a), b.store(to.b); };
    load();
    __syncthreads();  // nobody reads sums or stages of an earlier call any more
    store(shared_.stages[0]);
#pragma unroll 1
    for (int slot = 0;; slot ^= 1) {
      const Place here = place;
      place = here.next(chunk);
      const bool more = place.k < place.last;
      if (more) load();
      __syncthreads();  // the stage is there, and nobody reads the other one any more
      multiply(shared_.stages[slot], left, right, sums);
      if (more) store(shared_.stages[slot ^ 1]);
      if (more && place.end == here.end) continue;
      if (more && place.chunk_end == here.chunk_end) {
        park(sums);
        parked = true;
        continue;
      }
      if (parked) parking().add_to(sums);
      parked = false;
      if (kChunked && kept) totals().add_to(sums);
      if (!more) return sums;
      if constexpr (kChunked) totals().take(sums);
      kept = true;
      sums = TileSums();
    }
  }
  __device__ __forceinline__ TileSums run(const GemmSegment& s) const { return run(s, s.last - s.first); }
  template <class Visit>
  __device__ __forceinline__ void for_each_tile(const GemmSegment& s, Visit visit) const {
    visit(s.b_span, run(s));
  }

 private:
  // A stage's place along k: the end of its half, of its chunk, and of all.
  struct Place {
    int k, end, chunk_end, last;
    static __device__ __forceinline__ Place first(int k, int last, int chunk) {
      const int chunk_end = min(k + chunk, last);
      const int half = (chunk_end - k + kHalves * kDepth - 1) / (kHalves * kDepth) * kDepth;
      return {k, min(k + half, chunk_end), chunk_end, last};
    }
    __device__ __forceinline__ Place next(int chunk) const {
      if (k + kStageDepth < end) return {k + kStageDepth, end, chunk_end, last};
      if (end < chunk_end) return {end, chunk_end, chunk_end, last};
      return first(chunk_end, last, chunk);
    }
  };

  static __device__ __forceinline__ void multiply(const Stages& from, int left, int right, TileSums& sums) {
#pragma unroll
    for (int k = 0; k < kStageDepth; k += kDepth) multiply_step<A, B>(from.a, from.b, left, right, k, sums);
  }

  __device__ __forceinline__ WaitingSums& parking() const { return WaitingSums::in(shared_.sums.tile[warp_id()]); }
  __device__ __forceinline__ WaitingSums& totals() const { return shared_.totals[kChunked ? warp_id() : 0]; }
  __device__ __forceinline__ void park(TileSums& sums) const {
    parking().take(sums);
    sums = TileSums();
  }

  Shared& shared_;
};

#endif

}  // namespace mpq
