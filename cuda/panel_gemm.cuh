// The tile engine of products in bf16 that are short along k: a block's rows come from memory once, all of k, and stay
// in shared memory while its tiles' columns come and go. The sums are those of gemm.cuh, bit for bit.
#pragma once
#include "cuda/staged_gemm.cuh"

namespace mpq {

#ifdef __CUDACC__

// One block's tiles of a product whose k is along the rows of a, at most kShort of it.
template <class Shape, Along kAlongB>
class PanelGemm : public Gemm<Shape, Precision::bf16, Along::row, Along::row> {
  using Base = Gemm<Shape, Precision::bf16, Along::row, Along::row>;
  using A = Stage<Along::row, kRowsOf<Shape>, kThreadsOf<Shape>, kShort>;
  using B = Stage<kAlongB, kTileColsOf<Shape>, kThreadsOf<Shape>, kShort>;

 public:
  struct Shared {
    typename Base::Shared sums;
    typename A::Shared a;
    typename B::Shared b;
  };
  __device__ explicit PanelGemm(Shared& shared) : Base(shared.sums), shared_(shared) {}

  // All threads of the block call it. visit may call for_each_four.
  template <class Visit>
  __device__ __forceinline__ void for_each_tile(const GemmSegment& s, Visit visit) const {
    const int left = A::left(warp_id() / Shape::kWarpsN * kSpan), right = B::right(warp_id() % Shape::kWarpsN * kSpan);
    const int end = min(s.b_span + kColsOf<Shape>, kAlongB == Along::row ? s.b.rows : s.b.cols);
    begin(s);
#pragma unroll 1
    for (int col = s.b_span;; col += kTileColsOf<Shape>) {
      const bool more = col + kTileColsOf<Shape> < end;
      __syncthreads();  // the rows and the columns are there
      B next(s.b, more ? col + kTileColsOf<Shape> : col);
      if (more) next.load(s.first, s.last);
      TileSums sums;
      multiply(s.last - s.first, left, right, sums);
      if (more) {
        __syncthreads();  // nobody reads these columns any more
        next.store(shared_.b);
      }
      visit(col, sums);
      if (!more) return;
    }
  }

 private:
  // The rows, and the first tile's columns.
  __device__ __forceinline__ void begin(const GemmSegment& s) const {
    A a(s.a, s.a_span);
    B b(s.b, s.b_span);
    a.load(s.first, s.last);
    b.load(s.first, s.last);
    __syncthreads();  // nobody reads those of an earlier call any more
    a.store(shared_.a);
    b.store(shared_.b);
  }

  // Either half of k has sums of its own, the first one's wait.
  __device__ __forceinline__ void multiply(int length, int left, int right, TileSums& sums) const {
    const int half = (length + kHalves * kDepth - 1) / (kHalves * kDepth) * kDepth;
    add_products(0, half, left, right, sums);
    if (half >= length) return;
    WaitingSums& waiting = WaitingSums::in(shared_.sums.tile[warp_id()]);
    waiting.take(sums);
    sums = TileSums();
    add_products(half, length, left, right, sums);
    waiting.add_to(sums);
  }
  __device__ __forceinline__ void add_products(int k, int last, int left, int right, TileSums& sums) const {
#pragma unroll 2
    for (; k < last; k += kDepth) multiply_step<A, B>(shared_.a, shared_.b, left, right, k, sums);
  }

  Shared& shared_;
};

// The engine of a shape.
template <class Shape, Precision kPrecision, Along kAlongA, Along kAlongB>
using Product = std::conditional_t<
    (Shape::kTiles > 1), PanelGemm<Shape, kAlongB>,
    std::conditional_t<Shape::kStaged, StagedGemm<Shape, kAlongA, kAlongB>, Gemm<Shape, kPrecision, kAlongA, kAlongB>>>;
// Its shared memory, which the launch asks for.
template <class Product>
__device__ __forceinline__ typename Product::Shared& shared_of() {
  extern __shared__ float4 product_memory[];
  return *reinterpret_cast<typename Product::Shared*>(product_memory);
}

#endif

}  // namespace mpq
