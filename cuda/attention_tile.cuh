// What attention and its gradient share where there are tiles for the width of a head. A block of eight warps makes 32
// rows of one (replica, sequence, head): queries for context and dq, keys for dk and dv. The rows that these meet
// stream through shared memory 64 at a time, one step; a warp has one half of the block's rows meet its share of 16 of
// each step, and at the end the shares are added in their order. Which rows a warp takes depends on the sequence alone:
// no bit depends on the rest of the batch.
#pragma once
#include "cuda/attention_products.cuh"

namespace mpq::attention {

// ---- probabilities ----

// Scaled scores, and the maxima taken from them, are in units whose exponential is an instruction where one is enough.
template <Precision kPrecision>
constexpr float kScoreUnit = kPrecision == Precision::fp32 ? 1.0f : 1.44269504f;  // log2(e)

template <Precision kPrecision>
__device__ __forceinline__ float exponential(float x) {
  if constexpr (kPrecision == Precision::fp32) return expf(x);
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Keys first_of_share() ... of a step, of which `left` are there, or more.
__device__ __forceinline__ void leave_out(Scores& s, int left) {
  if (left > 3 + 16 * 3) return;
#pragma unroll
  for (int i = 0; i < 8; ++i)
    if (FragmentLane().t + 16 * (i / 4 * 2 + i % 2) >= left) s[i / 4][i % 4] = -INFINITY;
}

// Where a lane's rows are queries: what its four keys of a step are multiplied by for either.
class KeyDropout {
 public:
  __device__ __forceinline__ KeyDropout(const Attention& op, const Head<true>& head, const TileRows& rows)
      : on_(head.dropout.on), scale_(head.dropout.scale), upper_(rows.upper), left_(head.queries - rows.upper) {
    if (!on_) return;
    byte_ = head.kept(op, upper_) + place();
    eight_rows_ = 8 * op.heads * head.kept_bytes(op);
  }

  // The forward draws, every other step for two, and leaves the bits to the gradient.
  __device__ __forceinline__ void draw(const Head<true>& head, int step) {
    next(step, [&] {
      const DropoutKey key = opaque(head.dropout);
#pragma unroll
      for (int r = 0; r < 2; ++r)
        bits_[r] = kept_bits(key, dropout_bits(key, step / 2, place(), upper_ + 8 * r, head.dropout_row));
#pragma unroll
      for (int r = 0; r < 2; ++r)
        if (8 * r < left_) byte(step, r) = static_cast<uint8_t>(bits_[r]);
    });
  }
  // The gradient reads them, two steps before they are needed.
  __device__ __forceinline__ void fetch(int step) {
    if (!on_) return;
#pragma unroll
    for (int r = 0; r < 2; ++r) coming_[r] = 8 * r < left_ ? byte(step, r) : 0;
  }
  __device__ __forceinline__ void read(int step, int steps) {
    next(step, [&] {
      bits_[0] = coming_[0], bits_[1] = coming_[1];
      if (step + 2 < steps) fetch(step + 2);
    });
  }
  __device__ __forceinline__ float factor(int r, int i) const { return bits_[r] & 1u << i ? scale_ : 0; }

 private:
  static __device__ __forceinline__ int place() { return first_of_share() + FragmentLane().t; }
  __device__ __forceinline__ uint8_t& byte(int step, int r) const { return byte_[step / 2 * 16 + r * eight_rows_]; }
  template <class Start>
  __device__ __forceinline__ void next(int step, Start start) {
    if (!on_) return;
    if (step % 2 == 0)
      start();
    else
      bits_[0] >>= 4, bits_[1] >>= 4;
  }

  bool on_;
  float scale_;
  int upper_, left_;  // the upper query, queries from it on
  uint8_t* byte_;
  int eight_rows_;
  uint32_t bits_[2] = {0xFF, 0xFF}, coming_[2];
};

// ---- the sum over the shares ----

// The sums of all warps, as rows. With 32 bytes between them, what lanes write at once meets few banks twice.
template <int kWidth>
class Merge {
 public:
  static constexpr int kFours = kWidth / 4;

  template <Precision kPrecision>
  __device__ __forceinline__ void set(const Sums<kWidth>& sums) {
    const auto [g, t] = FragmentLane();
#pragma unroll
    for (int i = 0; i < kWidth / 8; ++i) {
      const int j = i % 4, four = i / 4 * 8;
      const auto& x = sums[i / 4];
      if constexpr (kPrecision == Precision::bf16) {  // a pair of two rows
        const int column = four + 2 * j + t / 2;
        reinterpret_cast<float2*>(&at(warp_index(), g, column))[t % 2] = {x[j][0], x[j][1]};
        reinterpret_cast<float2*>(&at(warp_index(), g + 8, column))[t % 2] = {x[j][2], x[j][3]};
      } else {  // four neighbours, one in each fragment
        at(warp_index(), g + j / 2 * 8, four + 2 * t + j % 2) = {x[0][j], x[1][j], x[2][j], x[3][j]};
      }
    }
  }
  __device__ __forceinline__ float4& at(int warp, int row, int four) { return at_[warp][row][four]; }

 private:
  float4 at_[kTileWarps][16][kFours + 2];
};

// Writes the sum over the shares of weight(warp, row of its 16) * sums to rows first ... of `out`, HeadRows or what
// stores like them. All threads call it; `memory` is shared and nobody will use it any more.
template <class Tile, class Memory, class Rows, class Weight>
__device__ __forceinline__ void merge_and_store(Memory& memory, const Sums<Tile::kWidth>& sums, const Rows& out,
                                                int first, Weight weight) {
  constexpr int kWidth = Tile::kWidth;
  static_assert(sizeof(Memory) >= sizeof(Merge<kWidth>));
  Merge<kWidth>& merge = reinterpret_cast<Merge<kWidth>&>(memory);
  constexpr int kFours = Merge<kWidth>::kFours, kAtOnce = kTileThreads / kFours;
  const int four = static_cast<int>(threadIdx.x % kFours);
  __syncthreads();
  merge.template set<Tile::kPrecision>(sums);
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kTileRows; i += kAtOnce) {
    const int row = i + static_cast<int>(threadIdx.x / kFours), half = kAtOnce == 16 ? i / 16 : row / 16;
    float4 total = {0, 0, 0, 0};
#pragma unroll
    for (int share = 0; share < kShares; ++share) {
      const int warp = half * kShares + share;
      const float4 x = merge.at(warp, row % 16, four);
      const float factor = weight(warp, row % 16);
      total.x += factor * x.x, total.y += factor * x.y, total.z += factor * x.z, total.w += factor * x.w;
    }
    out.store(first + row, 4 * four, total);
  }
}

// ---- launches ----

// What a block asks for at most where heads are wider than 128: more than some GPUs have.
constexpr size_t kWidestBytes = size_t{168} << 10;
inline bool has_room_for_widest() {
  int device = 0, bytes = 0;
  check_cuda(cudaGetDevice(&device), "device");
  check_cuda(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "shared memory");
  return kWidestBytes <= static_cast<size_t>(bytes);
}

// Columns of the tiles that these heads take, or 0: there are none.
inline int tile_width(const Attention& op, Precision precision) {
  const int width = width_of(op);
  if (width == 32 || width == 64) return width;
  if (precision != Precision::bf16 || width % 4 != 0) return 0;
  for (const int tile : {32, 64, 128})
    if (width <= tile) return tile;
  return width <= 256 && has_room_for_widest() ? 256 : 0;
}

// Calls run(TileKind), where there are tiles.
template <class Run>
void for_tile(const Attention& op, Precision precision, Run run) {
  const int tile = tile_width(op, precision);
  const auto usual = [&]<Precision at>() {
    tile == 32 ? run(TileKind<at, 32, true>()) : run(TileKind<at, 64, true>());
  };
  if (precision == Precision::fp32) return usual.template operator()<Precision::fp32>();
  if (precision == Precision::tf32) return usual.template operator()<Precision::tf32>();
  if (tile == width_of(op) && tile <= 64) return usual.template operator()<Precision::bf16>();
  if (tile == 32) return run(TileKind<Precision::bf16, 32, false>());
  if (tile == 64) return run(TileKind<Precision::bf16, 64, false>());
  if (tile == 128) return run(TileKind<Precision::bf16, 128, false>());
  run(TileKind<Precision::bf16, 256, false>());
}

}  // namespace mpq::attention
