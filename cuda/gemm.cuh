// The tile engine of the matrix products: a warp computes 32 x 32 of a b on the tensor cores. Operands are float and
// are read as they are stored, straight into fragments: which k a lane holds of a step, and which row or column a
// fragment's is, are free as long as a and b agree on k, so every read is four neighbouring floats of one row. There
// they become TF32 or bf16 terms (tf32.cuh, mma.cuh). Two TF32 terms hold a float32; where the second is zero in all of
// a warp's fragments its products are left out: operands of few bits cost one product, by looking, whatever the
// precision.
// An element's sum has one order: products of 16 along k from the start of either half of k, each complete before it is
// added; then the halves. So no bit depends on the tile's shape, on who computes the halves, or on what is left out.
#pragma once
#include "cuda/gemm_shapes.cuh"
#include "cuda/matrices.cuh"
#include "cuda/mma.cuh"
#include "cuda/tf32.cuh"

namespace mpq {

// One replica's matrix as an operand.
struct Operand {
  const float* data;
  int rows, cols;
};
HD Operand operand(const Matrices& m, int replica, int rows) { return {m.row(replica, 0), rows, m.cols}; }

// A product, or a part of one along k: from `first` to `last`; where its tile begins along the rows or columns of the
// result that a and b span.
struct GemmSegment {
  Operand a, b;
  int a_span, b_span, first, last;
};

#ifdef __CUDACC__

// A lane's share of 32 x 16 of an operand: along the span four "lines", of each k = 4 t ... 4 t + 3, with g = lane / 4
// and t = lane % 4. Line i is row g + 8 i where k is along the rows, else column 4 g + i.
template <Along kAlong, bool kWhole>
class Lines {
 public:
  __device__ __forceinline__ float at(int line, int k) const {
    const float4& v = kAlong == Along::row ? v_[line] : v_[k];
    const int e = kAlong == Along::row ? k : line;
    return e == 0 ? v.x : e == 1 ? v.y : e == 2 ? v.z : v.w;
  }

  // Where the lane's vectors of the next step lie.
  class Place {
   public:
    // Beyond the last row or column that the tile spans comes one that is there: nobody stores what it makes.
    __device__ __forceinline__ Place(const Operand& m, int first, int k) : cols_(m.cols) {
      constexpr bool kRow = kAlong == Along::row;
      const int g = lane_id() / 4, t = lane_id() % 4;
      span_ = first + (kRow ? g : 4 * g);
      if constexpr (kWhole && !kRow) span_ = min(span_, m.cols - 4);
      k_ = k + 4 * t;
      next_ = m.data + (kRow ? int64_t{k_} : int64_t{k_} * m.cols + span_);
#pragma unroll
      for (int i = 0; i < 4; ++i) offset_[i] = kRow ? min(span_ + 8 * i, m.rows - 1) * m.cols : i * m.cols;
    }

   private:
    friend Lines;
    const float* next_;
    int offset_[4], cols_, span_, k_;
  };

  // The vectors at `place`, which goes on to the next step.
  __device__ __forceinline__ void load(Place& place) {
#pragma unroll
    for (int i = 0; i < 4; ++i) v_[i] = *reinterpret_cast<const float4*>(place.next_ + place.offset_[i]);
    advance(place);
  }
  // The same; zeros from k = last and beyond the operand's columns.
  __device__ __forceinline__ void load_edge(Place& place, int last) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int there = kAlong == Along::row ? last - place.k_ : place.k_ + i < last ? place.cols_ - place.span_ : 0;
      const float* from = place.next_ + place.offset_[i];
      if constexpr (kWhole)
        v_[i] = there > 0 ? *reinterpret_cast<const float4*>(from) : float4{};
      else
        v_[i] = {there > 0 ? from[0] : 0, there > 1 ? from[1] : 0, there > 2 ? from[2] : 0, there > 3 ? from[3] : 0};
    }
    advance(place);
  }

 private:
  static __device__ __forceinline__ void advance(Place& place) {
    place.next_ += kAlong == Along::row ? int64_t{kDepth} : int64_t{kDepth} * place.cols_;
    place.k_ += kDepth;
  }
  float4 v_[4];
};

// What a warp has summed up: [rows of 16][columns of 8][fragment].
struct TileSums {
  float at[2][4][4] = {};
  __device__ __forceinline__ void add(const TileSums& other) {
#pragma unroll
    for (int i = 0; i < 32; ++i) at[i / 16][i / 4 % 4][i % 4] += other.at[i / 16][i / 4 % 4][i % 4];
  }
};

// A step's terms, and their products added to the sums.
template <Precision kPrecision>
class Terms {
 public:
  template <class A, class B>
  __device__ __forceinline__ Terms(const A& a, const B& b) {
    uint32_t second_a = 0, second_b = 0;
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      const int k = 2 * step;
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        a_[m][step] =
            left_fragment<kTerms>(a.at(2 * m, k), a.at(2 * m + 1, k), a.at(2 * m, k + 1), a.at(2 * m + 1, k + 1));
        const uint4 x = a_[m][step].term[kTerms - 1];
        second_a |= x.x | x.y | x.z | x.w;
      }
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        b_[n][step] = right_fragment<kTerms>(b.at(n, k), b.at(n, k + 1));
        second_b |= b_[n][step].term[kTerms - 1].x | b_[n][step].term[kTerms - 1].y;
      }
    }
    second_a_ = kTerms > 1 && __any_sync(kAllLanes, second_a != 0);
    second_b_ = kTerms > 1 && __any_sync(kAllLanes, second_b != 0);
  }

  // Tensor cores cut what they add off where a float ends: 16 along k get a sum of their own, small products first,
  // which is then rounded into the others.
  __device__ __forceinline__ void add_to(TileSums& sums) const {
#pragma unroll
    for (int n = 0; n < 4; n += 2) {
      float sum[2][2][4] = {};
      if (second_a_) multiply<kTerms - 1, 0>(sum, n);
      if (second_b_) multiply<0, kTerms - 1>(sum, n);
      multiply<0, 0>(sum, n);
#pragma unroll
      for (int i = 0; i < 16; ++i) sums.at[i / 8][n + i / 4 % 2][i % 4] += sum[i / 8][i / 4 % 2][i % 4];
    }
  }

 private:
  static constexpr int kTerms = kPrecision == Precision::fp32 ? 2 : 1;

  template <int kOfA, int kOfB>
  __device__ __forceinline__ void multiply(float (&sum)[2][2][4], int n) const {
#pragma unroll
    for (int step = 0; step < 2; ++step)
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int m = 0; m < 2; ++m) mma(sum[m][i], a_[m][step].term[kOfA], b_[n + i][step].term[kOfB]);
  }

  LeftFragment<kTerms> a_[2][2];
  RightFragment<kTerms> b_[4][2];
  bool second_a_, second_b_;
};
template <>
class Terms<Precision::bf16> {
 public:
  template <class A, class B>
  __device__ __forceinline__ Terms(const A& a, const B& b) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int k = 2 * half;
#pragma unroll
      for (int line = 0; line < 4; ++line) {
        a_[line / 2][2 * half + line % 2] = to_bf16(a.at(line, k), a.at(line, k + 1));
        b_[line][half] = to_bf16(b.at(line, k), b.at(line, k + 1));
      }
    }
  }
  __device__ __forceinline__ void add_to(TileSums& sums) const {
#pragma unroll
    for (int n = 0; n < 4; ++n)
#pragma unroll
      for (int m = 0; m < 2; ++m) multiply_add(sums.at[m][n], a_[m], b_[n][0], b_[n][1]);
  }

 private:
  uint32_t a_[2][4], b_[4][2];
};

// One block's tile of a product.
template <class Shape, Precision kPrecision, Along kAlongA, Along kAlongB>
class Gemm {
 public:
  // Sums in shared memory, on their way from fragments to rows: the strides let writes meet each bank once.
  static constexpr int kStride = kAlongB == Along::row ? kSpan + 8 : kSpan + 4;
  struct Shared {
    alignas(16) float tile[kThreadsOf<Shape> / kWarp][kSpan * kStride];
  };

  __device__ explicit Gemm(Shared& shared) : shared_(shared) {}

  // Where the halves of k are shared out, this warp's half of the sum.
  __device__ __forceinline__ TileSums run(const GemmSegment& segment) const {
    TileSums total;
#pragma unroll 1
    for (int half = warp_id() % Shape::kSplit; half < kHalves; half += Shape::kSplit) {
      TileSums sums;
      multiply(segment, half, sums);
      if constexpr (Shape::kSplit > 1) return sums;
      total.add(sums);
    }
    return total;
  }
  // visit(its first column, its sums) for each tile of the block, which has one.
  template <class Visit>
  __device__ __forceinline__ void for_each_tile(const GemmSegment& segment, Visit visit) const {
    visit(segment.b_span, run(segment));
  }

  // The column of the tile where the fours of for_each_four begin: each thread has one.
  static __device__ __forceinline__ int column() { return warp_n() * kSpan + lane_id() % 8 * 4; }
  // visit(row of the tile): those of this thread's fours. A few at a time: their code is long.
  template <class Visit>
  static __device__ __forceinline__ void for_each_row(Visit visit) {
    constexpr int kRowsAtOnce = kWarp / 8, kRows = kSpan / Shape::kSplit, kRowsAtATime = 2;
    const int first = warp_m() * kSpan + warp_id() % Shape::kSplit * kRows + lane_id() / 8;
#pragma unroll kRowsAtATime
    for (int row = 0; row < kRows; row += kRowsAtOnce) visit(first + row);
  }
  // visit(row of the tile, four neighbouring sums): all that this thread gets of the tile. All threads call it.
  template <class Visit>
  __device__ __forceinline__ void for_each_four(const TileSums& sums, Visit visit) const {
    const auto wait = [] { Shape::kSplit > 1 ? __syncthreads() : __syncwarp(); };
    wait();  // nobody reads sums of an earlier call any more
    put(sums, shared_.tile[warp_id()]);
    wait();
    for_each_row([&](int row) {
      const int at = row % kSpan * kStride + lane_id() % 8 * 4, first = warp_id() / Shape::kSplit * Shape::kSplit;
      float4 sum = *reinterpret_cast<const float4*>(shared_.tile[first] + at);
      if constexpr (Shape::kSplit > 1) sum = sum + *reinterpret_cast<const float4*>(shared_.tile[first + 1] + at);
      visit(row, sum);
    });
  }

 private:
  using A = Lines<kAlongA, Shape::kWhole>;
  using B = Lines<kAlongB, Shape::kWhole>;
  static constexpr int kAhead = kPrecision == Precision::bf16 ? Shape::kAhead : 1;  // terms take the registers
  // Rows of activations may end anywhere; where they are k, an end is looked for.
  static constexpr bool kEdge = !Shape::kWhole || kAlongA == Along::column;

  static __device__ __forceinline__ int warp_m() { return warp_id() / Shape::kSplit / Shape::kWarpsN; }
  static __device__ __forceinline__ int warp_n() { return warp_id() / Shape::kSplit % Shape::kWarpsN; }

  // Adds one half of a segment.
  __device__ __forceinline__ void multiply(const GemmSegment& s, int half, TileSums& sums) const {
    const int length = (s.last - s.first + kHalves * kDepth - 1) / (kHalves * kDepth) * kDepth;
    const int first = s.first + half * length, last = min(first + length, s.last);
    typename A::Place a_place(s.a, s.a_span + warp_m() * kSpan, first);
    typename B::Place b_place(s.b, s.b_span + warp_n() * kSpan, first);
    A a[kAhead];
    B b[kAhead];
    const auto load = [&](int i, int k) {
      if (k >= last) return;
      if (kEdge && (!Shape::kWhole || k + kDepth > last)) {
        a[i].load_edge(a_place, last);
        b[i].load_edge(b_place, last);
      } else {
        a[i].load(a_place);
        b[i].load(b_place);
      }
    };
#pragma unroll
    for (int i = 0; i < kAhead; ++i) load(i, first + i * kDepth);
#pragma unroll 1
    for (int base = first; base < last; base += kAhead * kDepth) {
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const int k = base + i * kDepth;
        if (k >= last) break;
        const Terms<kPrecision> terms(a[i], b[i]);
        load(i, k + kAhead * kDepth);
        terms.add_to(sums);
      }
    }
  }

  // Sums of fragments to their rows and columns (Lines).
  static __device__ __forceinline__ void put(const TileSums& sums, float* tile) {
    const int g = lane_id() / 4, t = lane_id() % 4;
#pragma unroll
    for (int line = 0; line < 4; ++line) {
      const int row = kAlongA == Along::row ? g + 8 * line : 4 * g + line, m = line / 2, e = line % 2 * 2;
      float* to = tile + row * kStride;
      if constexpr (kAlongB == Along::row) {
#pragma unroll
        for (int n = 0; n < 4; ++n)
          *reinterpret_cast<float2*>(to + 8 * n + 2 * t) = {sums.at[m][n][e], sums.at[m][n][e + 1]};
      } else {
#pragma unroll
        for (int i = 0; i < 2; ++i)
          *reinterpret_cast<float4*>(to + 4 * (2 * t + i)) = {sums.at[m][0][e + i], sums.at[m][1][e + i],
                                                              sums.at[m][2][e + i], sums.at[m][3][e + i]};
      }
    }
  }

  Shared& shared_;
};

#endif

}  // namespace mpq
