// The tile engine of the matrix products: a block computes one tile of a b on the tensor cores, with both operands
// float and read as they are stored. A float runs as up to three bf16 terms (mma.cuh); which terms are zero in a tile
// is seen while it is split, and their products are left out: operands of a few bits cost one product, whatever the
// precision. An element's sum has one order: products of 16 along k from the segment's start, each complete before it
// is added; a segment complete before it is added to the next. So no bit depends on the tile's shape or on what is left
// out.
#pragma once
#include "cuda/matrices.cuh"
#include "cuda/mma.cuh"
#include "tensor/device.h"

namespace mpq {

// One replica's matrix as an operand: what lies beyond its rows and columns is zero.
struct Operand {
  const float* data;
  int rows, cols;
  bool vectors;
};
HD Operand operand(const Matrices& m, int replica, int rows) { return {m.row(replica, 0), rows, m.cols, m.vectors}; }

// Where a tile begins: row (or column) of a's and of b's span, and k.
struct GemmTile {
  Operand a, b;
  int a_span, b_span, k;
};

constexpr int kGemmThreads = 256, kGemmWarps = kGemmThreads / kWarp;
constexpr int kDepth = 32;  // of a tile along k: two tensor-core steps

// kWarpM x kWarpN outputs a warp, 4 x 2 warps. kStages tiles are on their way from memory; kTogether steps of 16 along
// k run side by side (a small tile has too few sums of its own to keep the tensor core busy).
struct SmallTile {  // many blocks
  static constexpr int kWarpM = 16, kWarpN = 16, kM = 4 * kWarpM, kN = 2 * kWarpN, kStages = 4, kTogether = 2;
};
struct LargeTile {  // little traffic
  static constexpr int kWarpM = 32, kWarpN = 32, kM = 4 * kWarpM, kN = 2 * kWarpN, kStages = 3, kTogether = 1;
};

// How an operand is stored: k along its rows (x and w of x w^T) or from row to row.
enum class Along : uint8_t { row, column };

// One operand's tile in shared memory, as stored: raw floats, each thread's own, and their bf16 terms.
template <int kSpan, Along kAlong>
struct TileOf {
  static constexpr int kOuter = kAlong == Along::row ? kSpan : kDepth, kInner = kAlong == Along::row ? kDepth : kSpan;
  static constexpr int kVectors = kOuter * kInner / 4 / kGemmThreads;  // of four floats a thread
  static constexpr int kStride = kInner + 8;  // an odd number of 16 bytes: ldmatrix meets every bank once
  static constexpr int kSize = kOuter * kStride;
  static_assert(kOuter * kInner % (4 * kGemmThreads) == 0);

  struct Place {
    int outer, inner;
  };
  static HD Place place(int vector, int thread) {
    const int v = vector * kGemmThreads + thread;
    return {v / (kInner / 4), v % (kInner / 4) * 4};
  }
  // The row that `lane` points at for load_matrices: of the 16 x 16 values at `span` and `depth` the four quarters in
  // the order a wants (k in quarters 2 and 3 is 8 further) or b wants (in 1 and 3).
  template <bool kIsA>
  static HD int address(int lane, int span, int depth) {
    const int low = lane % 8, odd = lane / 8 % 2 * 8, high = lane / 16 * 8;
    const int s = span + (kIsA ? odd : high), k = depth + (kIsA ? high : odd);
    return kAlong == Along::row ? (s + low) * kStride + k : (k + low) * kStride + s;
  }
};

template <class Shape, int kTerms, Along kAlongA, Along kAlongB>
struct GemmShared {
  using A = TileOf<Shape::kM, kAlongA>;
  using B = TileOf<Shape::kN, kAlongB>;
  struct Split {
    uint16_t a[kTerms][A::kSize], b[kTerms][B::kSize];
  };
  struct Raw {
    float4 a[A::kVectors][kGemmThreads], b[B::kVectors][kGemmThreads];
  };
  alignas(16) Raw raw[Shape::kStages];
  alignas(16) Split split[2];
  alignas(16) uint32_t present[2][kGemmWarps];  // which terms are not all zero, as each warp saw
};

// Bits of `present`: second and third term of a, then of b.
constexpr uint32_t kA1 = 1, kA2 = 2, kB1 = 4, kB2 = 8;

#ifdef __CUDACC__

template <class Shape, int kTerms, Along kAlongA, Along kAlongB>
class Gemm {
 public:
  using Shared = GemmShared<Shape, kTerms, kAlongA, kAlongB>;
  static constexpr int kRowTiles = Shape::kWarpM / 16, kColTiles = Shape::kWarpN / 8;
  struct Sums {
    float at[kRowTiles][kColTiles][4] = {};
    __device__ void add(const Sums& other) {
      for_each([&](int i, int j, int e) { at[i][j][e] += other.at[i][j][e]; });
    }
  };

  __device__ explicit Gemm(Shared& shared) : shared_(shared) {}

  // sums += the product of every segment, in order. Plan: tiles() in all, at least one; operands(tile) -> GemmTile;
  // ends(tile): the segment's last.
  template <class Plan>
  __device__ void run(const Plan& plan, Sums& sums) {
    const int tiles = plan.tiles();
    for (int t = 0; t < Shape::kStages; ++t) fetch(plan, t, tiles);
    split_tile(0);
    Sums segment;
#pragma unroll 1
    for (int t = 0; t < tiles; ++t) {
      __syncthreads();  // all of tile t is split, and nobody reads tile t - 1 any more
      fetch(plan, t + Shape::kStages, tiles);
      // Of the two warps that share a tensor core, one multiplies while the other splits.
#pragma unroll 1
      for (int phase = 0; phase < 2; ++phase) {
        if (phase == static_cast<int>(threadIdx.x) / (kGemmThreads / 2))
          multiply_tile(t, segment);
        else if (t + 1 < tiles)
          split_tile(t + 1);
      }
      if (plan.ends(t)) {
        sums.add(segment);
        segment = Sums();
      }
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
  static constexpr int kSteps = Shape::kTogether;
  struct FragmentA {
    uint32_t at[kSteps][kRowTiles][4];
  };
  struct FragmentB {
    uint32_t at[kSteps][kColTiles / 2][4];
  };
  using Steps = Sums[kSteps];

  template <class Visit>
  static __device__ __forceinline__ void for_each(Visit visit) {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int j = 0; j < kColTiles; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) visit(i, j, e);
  }

  template <class Plan>
  __device__ void fetch(const Plan& plan, int t, int tiles) {
    if (t < tiles) {
      const GemmTile f = plan.operands(t);
      typename Shared::Raw& raw = shared_.raw[t % Shape::kStages];
      fetch_operand<A, kAlongA>(f.a, f.a_span, f.k, raw.a);
      fetch_operand<B, kAlongB>(f.b, f.b_span, f.k, raw.b);
    }
    commit_copies();  // an empty group, too, counts
  }
  template <class Tile, Along kAlong>
  static __device__ void fetch_operand(const Operand& m, int span, int depth, float4 (*to)[kGemmThreads]) {
#pragma unroll
    for (int i = 0; i < Tile::kVectors; ++i) {
      const typename Tile::Place place = Tile::place(i, threadIdx.x);
      const int row = place.outer + (kAlong == Along::row ? span : depth);
      const int col = place.inner + (kAlong == Along::row ? depth : span);
      const bool inside = row < m.rows && col < m.cols;
      const float* from = inside ? m.data + int64_t{row} * m.cols + col : m.data;
      float4* slot = &to[i][threadIdx.x];
      if (m.vectors) {
        copy_async<16>(slot, from, inside);
      } else {
        for (int e = 0; e < 4; ++e) {
          const bool there = inside && col + e < m.cols;
          copy_async<4>(reinterpret_cast<float*>(slot) + e, there ? from + e : m.data, there);
        }
      }
    }
  }

  // This thread's floats of tile t, as terms.
  __device__ void split_tile(int t) {
    wait_for_copies<Shape::kStages - 1>();
    const typename Shared::Raw& raw = shared_.raw[t % Shape::kStages];
    typename Shared::Split& to = shared_.split[t % 2];
    uint32_t present = split_operand<A>(raw.a, to.a) | split_operand<B>(raw.b, to.b) << 2;
    if constexpr (kTerms == 1) return;
    present = __reduce_or_sync(kAllLanes, present);
    if (threadIdx.x % kWarp == 0) shared_.present[t % 2][threadIdx.x / kWarp] = present;
  }
  template <class Tile>
  static __device__ uint32_t split_operand(const float4 (*raw)[kGemmThreads], uint16_t (*to)[Tile::kSize]) {
    uint32_t any[kTerms] = {};
#pragma unroll
    for (int i = 0; i < Tile::kVectors; ++i) {
      const float4 v = raw[i][threadIdx.x];
      uint32_t low[kTerms], high[kTerms];
      split(v.x, v.y, low);
      split(v.z, v.w, high);
      const typename Tile::Place place = Tile::place(i, threadIdx.x);
#pragma unroll
      for (int term = 0; term < kTerms; ++term) {
        any[term] |= low[term] | high[term];
        *reinterpret_cast<uint2*>(&to[term][place.outer * Tile::kStride + place.inner]) = {low[term], high[term]};
      }
    }
    uint32_t present = 0;
#pragma unroll
    for (int term = 1; term < kTerms; ++term) present |= any[term] ? 1u << (term - 1) : 0;
    return present;
  }

  __device__ void multiply_tile(int t, Sums& sums) {
    const typename Shared::Split& tile = shared_.split[t % 2];
    uint32_t present = 0;
    if constexpr (kTerms > 1)
      for (int w = 0; w < kGemmWarps; ++w) present |= shared_.present[t % 2][w];
#pragma unroll
    for (int depth = 0; depth < kDepth; depth += 16 * kSteps) multiply_steps(tile, present, depth, sums);
  }

  __device__ void multiply_steps(const typename Shared::Split& tile, uint32_t present, int depth, Sums& sums) {
    FragmentA a0;
    FragmentB b0;
    load(tile.a[0], depth, a0);
    load(tile.b[0], depth, b0);
    if constexpr (kTerms == 1) {
#pragma unroll
      for (int s = 0; s < kSteps; ++s) multiply(a0, b0, s, sums);
    } else {
      Steps steps;
      add_small_products(tile, present, depth, a0, b0, steps);
      multiply(a0, b0, steps);
#pragma unroll
      for (int s = 0; s < kSteps; ++s) sums.add(steps[s]);
    }
  }

  // The products of later terms, smallest first, those that are not zero.
  __device__ void add_small_products(const typename Shared::Split& tile, uint32_t present, int depth,
                                     const FragmentA& a0, const FragmentB& b0, Steps& steps) {
    FragmentA a;
    FragmentB b;
    if constexpr (kTerms > 2) {
      if (present & kA2) load(tile.a[2], depth, a), multiply(a, b0, steps);
      if (present & kB2) load(tile.b[2], depth, b), multiply(a0, b, steps);
    }
    if (present & kA1) load(tile.a[1], depth, a);
    if (present & kB1) load(tile.b[1], depth, b);
    if constexpr (kTerms > 2)
      if ((present & (kA1 | kB1)) == (kA1 | kB1)) multiply(a, b, steps);
    if (present & kA1) multiply(a, b0, steps);
    if (present & kB1) multiply(a0, b, steps);
  }

  static __device__ void multiply(const FragmentA& a, const FragmentB& b, int step, Sums& sums) {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int j = 0; j < kColTiles; ++j)
        multiply_add(sums.at[i][j], a.at[step][i], b.at[step][j / 2][j % 2 * 2], b.at[step][j / 2][j % 2 * 2 + 1]);
  }
  static __device__ void multiply(const FragmentA& a, const FragmentB& b, Steps& steps) {
#pragma unroll
    for (int s = 0; s < kSteps; ++s) multiply(a, b, s, steps[s]);
  }

  static __device__ void load(const uint16_t* tile, int depth, FragmentA& to) {
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
#pragma unroll
    for (int s = 0; s < kSteps; ++s)
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i)
        load<kAlongA == Along::column>(
            to.at[s][i], tile + A::template address<true>(lane, warp / 2 * Shape::kWarpM + 16 * i, depth + 16 * s));
  }
  static __device__ void load(const uint16_t* tile, int depth, FragmentB& to) {
    const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
#pragma unroll
    for (int s = 0; s < kSteps; ++s)
#pragma unroll
      for (int j = 0; j < kColTiles / 2; ++j)
        load<kAlongB == Along::column>(
            to.at[s][j], tile + B::template address<false>(lane, warp % 2 * Shape::kWarpN + 16 * j, depth + 16 * s));
  }
  template <bool kTransposed>
  static __device__ void load(uint32_t (&to)[4], const uint16_t* row) {
    if constexpr (kTransposed)
      load_matrices_transposed(to, row);
    else
      load_matrices(to, row);
  }

  Shared& shared_;
};

#endif

// Blocks that fill a GPU twice: with fewer, smaller tiles.
constexpr int64_t kEnoughBlocks = 264;
constexpr int terms_of(Precision precision) {
  return precision == Precision::fp32 ? 3 : precision == Precision::tf32 ? 2 : 1;
}

}  // namespace mpq
