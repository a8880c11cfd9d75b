// The tile engine of the matrix products: a block computes one tile of a b on the tensor cores, with both operands
// float and read as they are stored, into shared memory, and from there into fragments, where they become TF32 or bf16
// terms (tf32.cuh, mma.cuh). Two TF32 terms hold a float32; where the second is zero in all of a warp's fragment its
// products are left out: operands of few bits cost one product, by looking, whatever the precision.
// An element's sum has one order: products of 16 along k from the segment's start, each complete before it is added; a
// segment complete before it is added to the next. So no bit depends on the tile's shape or on what is left out.
#pragma once
#include "cuda/matrices.cuh"
#include "cuda/mma.cuh"
#include "cuda/tf32.cuh"
#include "tensor/device.h"

namespace mpq {

// One replica's matrix as an operand: what lies beyond its rows and columns is zero.
struct Operand {
  const float* data;
  int rows, cols;
  bool vectors;
};
HD Operand operand(const Matrices& m, int replica, int rows) { return {m.row(replica, 0), rows, m.cols, m.vectors}; }

// A product, or a part of one along k: from `first` to `last`; where its tile begins along the rows or columns of the
// result that a and b span.
struct GemmSegment {
  Operand a, b;
  int a_span, b_span, first, last;
};

constexpr int kGemmThreads = 128;
constexpr int kDepth = 32;  // of a tile along k

// kWarpM x kWarpN outputs a warp, 2 x 2 warps. kStages tiles are on their way from memory.
struct SmallTile {  // many blocks
  static constexpr int kWarpM = 16, kWarpN = 16, kM = 2 * kWarpM, kN = 2 * kWarpN, kStages = 4;
};
struct LargeTile {  // little traffic
  static constexpr int kWarpM = 32, kWarpN = 32, kM = 2 * kWarpM, kN = 2 * kWarpN, kStages = 3;
};
// Blocks of large tiles that keep a GPU busy; with fewer, small ones.
constexpr int64_t kEnoughBlocks = 200;

// How an operand is stored: k along its rows (x and w of x w^T) or from row to row.
enum class Along : uint8_t { row, column };

// One operand's tile in shared memory, as stored. The strides let every read of a fragment meet each bank once.
template <int kSpan, Along kAlong>
struct TileOf {
  static constexpr int kOuter = kAlong == Along::row ? kSpan : kDepth, kInner = kAlong == Along::row ? kDepth : kSpan;
  static constexpr int kVectors = kOuter * kInner / 4 / kGemmThreads;  // of four floats a thread
  static constexpr int kStride = kInner + (kAlong == Along::row ? 4 : 8);
  static constexpr int kSize = kOuter * kStride;
  static_assert(kOuter * kInner % (4 * kGemmThreads) == 0);

  static constexpr int kApart = kGemmThreads / (kInner / 4);  // rows between a thread's vectors
  static_assert(kGemmThreads % (kInner / 4) == 0);
  static HD int outer(int thread) { return thread / (kInner / 4); }  // of its first one
  static HD int inner(int thread) { return thread % (kInner / 4) * 4; }
};

template <class Shape, Along kAlongA, Along kAlongB>
struct GemmShared {
  using A = TileOf<Shape::kM, kAlongA>;
  using B = TileOf<Shape::kN, kAlongB>;
  struct Stage {
    float a[A::kSize], b[B::kSize];
  };
  alignas(16) Stage stage[Shape::kStages];
};

#ifdef __CUDACC__

template <class Shape, Precision kPrecision, Along kAlongA, Along kAlongB>
class Gemm {
 public:
  using Shared = GemmShared<Shape, kAlongA, kAlongB>;
  static constexpr int kRowTiles = Shape::kWarpM / 16, kColTiles = Shape::kWarpN / 8;
  struct Sums {
    float at[kRowTiles][kColTiles][4] = {};
    __device__ void add(const Sums& other) {
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
        for (int j = 0; j < kColTiles; ++j)
#pragma unroll
          for (int e = 0; e < 4; ++e) at[i][j][e] += other.at[i][j][e];
    }
  };

  __device__ explicit Gemm(Shared& shared) : shared_(shared) {}

  // The plan's segments one after the other. Plan: segments(); segment(i) -> GemmSegment, not empty; finish(i, sums)
  // takes what segment i sums up to.
  template <class Plan>
  __device__ __forceinline__ void run(const Plan& plan) {
    Fetcher<Plan> fetcher(shared_, plan);
    for (int i = 0; i < Shape::kStages - 1; ++i) fetcher.next();
    int stage = 0;
#pragma unroll 1
    for (int segment = 0; segment < plan.segments(); ++segment) {
      Sums sums;
#pragma unroll 1
      for (int tiles = tiles_of(plan.segment(segment)); tiles > 0; --tiles) {
        wait_for_copies<Shape::kStages - 2>();
        __syncthreads();  // the tile is there, and nobody reads the one before it any more
        fetcher.next();
        multiply_tile(shared_.stage[stage], sums);
        stage = following(stage);
      }
      plan.finish(segment, sums);
    }
  }

  // visit(row, column of the tile, two neighbouring sums): all that this thread holds.
  template <class Visit>
  static __device__ void for_each_pair(Sums& sums, Visit visit) {
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    const int row = warp / 2 * Shape::kWarpM + lane / 4, col = warp % 2 * Shape::kWarpN + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int j = 0; j < kColTiles; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          visit(row + 16 * i + 8 * half, col + 8 * j, sums.at[i][j][2 * half], sums.at[i][j][2 * half + 1]);
  }

  // Adds add(column of the tile) to every sum of that column.
  template <class Add>
  static __device__ __forceinline__ void add_to_columns(Sums& sums, Add add) {
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
    float of_column[kColTiles][2];
#pragma unroll
    for (int j = 0; j < kColTiles; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e) of_column[j][e] = add(warp % 2 * Shape::kWarpN + lane % 4 * 2 + 8 * j + e);
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int j = 0; j < kColTiles; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums.at[i][j][e] += of_column[j][e % 2];
  }

  // A tile's sums on their way to another block: [kParts][kGemmThreads].
  static constexpr int kParts = kRowTiles * kColTiles;
  static __device__ void save(const Sums& sums, float4* to) {
#pragma unroll
    for (int p = 0; p < kParts; ++p) {
      const float(&s)[4] = sums.at[p / kColTiles][p % kColTiles];
      to[p * kGemmThreads + threadIdx.x] = {s[0], s[1], s[2], s[3]};
    }
  }
  static __device__ Sums saved(const float4* from) {
    Sums sums;
#pragma unroll
    for (int p = 0; p < kParts; ++p) {
      const float4 v = __ldcg(from + p * kGemmThreads + threadIdx.x);
      float(&s)[4] = sums.at[p / kColTiles][p % kColTiles];
      s[0] = v.x, s[1] = v.y, s[2] = v.z, s[3] = v.w;
    }
    return sums;
  }

 private:
  using A = typename Shared::A;
  using B = typename Shared::B;
  // A lane's floats of 16 along k, in the order of tf32.cuh's fragments, step by step; b: of two neighbours of 8.
  struct FragmentA {
    float at[kRowTiles][2][4];
  };
  struct FragmentB {
    float at[2][2][2];
  };

  static __device__ int following(int stage) { return stage + 1 == Shape::kStages ? 0 : stage + 1; }
  static __device__ int tiles_of(const GemmSegment& s) { return (s.last - s.first + kDepth - 1) / kDepth; }

  // This thread's part of one operand's tiles, along k.
  template <class Tile, Along kAlong>
  struct Reader {
    const float* from;  // the first vector of the next tile
    int step;           // floats between vectors
    int advance;        // from tile to tile
    int rows, cols;     // that are left of the operand, from there
    bool vectors;

    __device__ void start(const Operand& m, int span, int first, int last) {
      const bool along_row = kAlong == Along::row;
      const int row = Tile::outer(threadIdx.x) + (along_row ? span : first);
      const int col = Tile::inner(threadIdx.x) + (along_row ? first : span);
      from = m.data + int64_t{row} * m.cols + col;
      step = Tile::kApart * m.cols;
      advance = along_row ? kDepth : kDepth * m.cols;
      rows = (along_row ? m.rows : min(m.rows, last)) - row;
      cols = (along_row ? min(m.cols, last) : m.cols) - col;
      vectors = m.vectors;
    }
    __device__ __forceinline__ void fetch(float* tile) {
      float* to = tile + Tile::outer(threadIdx.x) * Tile::kStride + Tile::inner(threadIdx.x);
#pragma unroll
      for (int i = 0; i < Tile::kVectors; ++i, to += Tile::kApart * Tile::kStride) {
        const bool inside = i * Tile::kApart < rows && cols > 0;
        if (vectors) {
          copy_async<16>(to, from + i * step, inside);
        } else {
          for (int e = 0; e < 4; ++e) copy_async<4>(to + e, from + i * step + e, inside && e < cols);
        }
      }
      from += advance;
      (kAlong == Along::row ? cols : rows) -= kDepth;
    }
  };

  // Asks for the tiles of all segments in order, each into the next stage.
  template <class Plan>
  struct Fetcher {
    Shared& shared;
    const Plan& plan;
    int segment = 0, tiles = 0, stage = 0;  // tiles: left of the segment before `segment`
    Reader<A, kAlongA> a;
    Reader<B, kAlongB> b;

    __device__ Fetcher(Shared& shared, const Plan& plan) : shared(shared), plan(plan) {}
    __device__ __forceinline__ void next() {
      if (tiles == 0 && segment < plan.segments()) {
        const GemmSegment s = plan.segment(segment++);
        a.start(s.a, s.a_span, s.first, s.last);
        b.start(s.b, s.b_span, s.first, s.last);
        tiles = tiles_of(s);
      }
      if (tiles > 0) {
        a.fetch(shared.stage[stage].a);
        b.fetch(shared.stage[stage].b);
        stage = following(stage);
        --tiles;
      }
      commit_copies();  // an empty group, too, counts
    }
  };

  __device__ __forceinline__ void multiply_tile(const typename Shared::Stage& stage, Sums& sums) {
    const int warp = threadIdx.x / kWarp;
#pragma unroll
    for (int depth = 0; depth < kDepth; depth += 16) {
      FragmentA a;
#pragma unroll
      for (int step = 0; step < 2; ++step)
#pragma unroll
        for (int i = 0; i < kRowTiles; ++i)
          load_a(stage.a, warp / 2 * Shape::kWarpM + 16 * i, depth + 8 * step, a.at[i][step]);
      if constexpr (kPrecision == Precision::bf16)
        multiply_columns(bf16_rows(a), stage, depth, sums);
      else
        multiply_columns(tf32_rows(a), stage, depth, sums);
    }
  }

  template <class Rows>
  static __device__ __forceinline__ void multiply_columns(const Rows& rows, const typename Shared::Stage& stage,
                                                          int depth, Sums& sums) {
    const int warp = threadIdx.x / kWarp;
#pragma unroll
    for (int j = 0; j < kColTiles; j += 2) {
      FragmentB b;
#pragma unroll
      for (int step = 0; step < 2; ++step)
        load_b(stage.b, warp % 2 * Shape::kWarpN + 8 * j, depth + 8 * step, b.at[0][step], b.at[1][step]);
      multiply(rows, b, j, sums);
    }
  }

  // 16 x 8 of a from `span` and `depth`.
  static __device__ __forceinline__ void load_a(const float* tile, int span, int depth, float (&to)[4]) {
    const int lane = threadIdx.x % kWarp;
    if constexpr (kAlongA == Along::row) {
      load_floats(to, tile + (span + lane % 16) * A::kStride + depth + lane / 16 * 4);
    } else {
      const float* from = tile + (depth + lane % 4) * A::kStride + span + lane / 4;
      to[0] = from[0], to[1] = from[8], to[2] = from[4 * A::kStride], to[3] = from[4 * A::kStride + 8];
    }
  }
  // Two neighbours of 8 x 8 of b.
  static __device__ __forceinline__ void load_b(const float* tile, int span, int depth, float (&first)[2],
                                                float (&second)[2]) {
    const int lane = threadIdx.x % kWarp;
    if constexpr (kAlongB == Along::row) {
      float four[4];
      load_floats(four, tile + (span + lane % 8 + lane / 16 * 8) * B::kStride + depth + lane / 8 % 2 * 4);
      first[0] = four[0], first[1] = four[1], second[0] = four[2], second[1] = four[3];
    } else {
      const float* from = tile + (depth + lane % 4) * B::kStride + span + lane / 4;
      first[0] = from[0], first[1] = from[4 * B::kStride];
      second[0] = from[8], second[1] = from[4 * B::kStride + 8];
    }
  }

  // Which k a lane's pair holds is free, as long as a and b agree: k and k + 4 of a step.
  struct Bf16Rows {
    uint32_t at[kRowTiles][4];
  };
  static __device__ __forceinline__ Bf16Rows bf16_rows(const FragmentA& a) {
    Bf16Rows rows;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e) rows.at[i][e] = to_bf16(a.at[i][e / 2][e % 2], a.at[i][e / 2][e % 2 + 2]);
    return rows;
  }
  static __device__ __forceinline__ void multiply(const Bf16Rows& rows, const FragmentB& b, int j, Sums& sums) {
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const uint32_t b0 = to_bf16(b.at[n][0][0], b.at[n][0][1]), b1 = to_bf16(b.at[n][1][0], b.at[n][1][1]);
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) multiply_add(sums.at[i][j + n], rows.at[i], b0, b1);
    }
  }

  static constexpr int kTerms = kPrecision == Precision::fp32 ? 2 : 1;
  struct Tf32Rows {
    LeftFragment<kTerms> at[kRowTiles][2];
    bool second;  // the second terms of this warp's rows are not all zero
  };
  using Tf32Columns = RightFragment<kTerms>[2][2];

  static __device__ __forceinline__ Tf32Rows tf32_rows(const FragmentA& a) {
    Tf32Rows rows;
    uint32_t second = 0;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        const float(&x)[4] = a.at[i][step];
        rows.at[i][step] = left_fragment<kTerms>(x[0], x[1], x[2], x[3]);
        const uint4 last = rows.at[i][step].term[kTerms - 1];
        second |= last.x | last.y | last.z | last.w;
      }
    rows.second = kTerms > 1 && __any_sync(kAllLanes, second != 0);
    return rows;
  }
  static __device__ __forceinline__ void multiply(const Tf32Rows& rows, const FragmentB& b, int j, Sums& sums) {
    Tf32Columns columns;
    uint32_t second = 0;
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int step = 0; step < 2; ++step) {
        columns[n][step] = right_fragment<kTerms>(b.at[n][step][0], b.at[n][step][1]);
        second |= columns[n][step].term[kTerms - 1].x | columns[n][step].term[kTerms - 1].y;
      }
    if constexpr (kTerms == 1) return multiply_terms<false, false>(rows, columns, j, sums);
    const bool second_column = __any_sync(kAllLanes, second != 0);
    if (rows.second && second_column)
      multiply_terms<true, true>(rows, columns, j, sums);
    else if (rows.second)
      multiply_terms<true, false>(rows, columns, j, sums);
    else if (second_column)
      multiply_terms<false, true>(rows, columns, j, sums);
    else
      multiply_terms<false, false>(rows, columns, j, sums);
  }

  // Tensor cores cut what they add off where a float ends: 16 along k get a sum of their own, small products first,
  // which is then rounded into the others.
  template <bool kSecondA, bool kSecondB>
  static __device__ __forceinline__ void multiply_terms(const Tf32Rows& rows, const Tf32Columns& columns, int j,
                                                        Sums& sums) {
    float sum[2][kRowTiles][4] = {};
    const auto add = [&](int term_a, int term_b) {
#pragma unroll
      for (int step = 0; step < 2; ++step)
#pragma unroll
        for (int n = 0; n < 2; ++n)
#pragma unroll
          for (int i = 0; i < kRowTiles; ++i)
            mma(sum[n][i], rows.at[i][step].term[term_a], columns[n][step].term[term_b]);
    };
    if constexpr (kTerms > 1) {
      if constexpr (kSecondA) add(kTerms - 1, 0);
      if constexpr (kSecondB) add(0, kTerms - 1);
    }
    add(0, 0);
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums.at[i][j + n][e] += sum[n][i][e];
  }

  Shared& shared_;
};

#endif

// Calls launch with the precision as a constant.
template <class Launch>
void with_precision(Precision precision, Launch launch) {
  if (precision == Precision::fp32)
    launch(std::integral_constant<Precision, Precision::fp32>());
  else if (precision == Precision::tf32)
    launch(std::integral_constant<Precision, Precision::tf32>());
  else
    launch(std::integral_constant<Precision, Precision::bf16>());
}

}  // namespace mpq
