// Tiles (quant/tiles.h) quantized by groups of threads, and rows by warps: bit for bit what kernels/quantize.cpp does.
#pragma once
#include "cuda/reduce.cuh"
#include "quant/spec.h"

namespace mpq {

// In place of a term or factor that changes nothing: the compiler leaves no addition of -0 out, nor a factor of 1.
struct Nothing {};
__device__ __forceinline__ float plus(float x, float zero) { return __fadd_rn(x, zero); }
__device__ __forceinline__ float plus(float x, Nothing) { return x; }
__device__ __forceinline__ float times(float x, float factor) { return __fmul_rn(x, factor); }
__device__ __forceinline__ float times(float x, Nothing) { return x; }

// What a value goes through. `zero` as in kernels/quantize.cpp: -0 changes nothing, +0 turns -0 into +0 (MASE's fold),
// NaN makes all NaN. Each operation is rounded by itself.
template <class Rule, class Zero, class Factor>
struct Chain {
  Rule rule;
  Zero zero;
  Factor factor;
  __device__ float operator()(float x) const { return times(plus(rule(x), zero), factor); }
  __device__ float4 operator()(const float4& v) const {
    return {(*this)(v.x), (*this)(v.y), (*this)(v.z), (*this)(v.w)};
  }
};
template <class Rule, class Factor>
__device__ Chain<Rule, Nothing, Factor> chain(const Rule& rule, Factor factor) {
  return {rule, {}, factor};
}

// A format, and what all tiles of a tensor share.
template <class F, class Factor>
struct TileRules {
  using Statistic = TileStatistic<F>;
  using Value = typename Statistic::Value;
  using TensorValue = typename TensorStatistic<F>::Value;

  F format;  // a copy: loads through a reference would wait behind the stores of y, which may be anywhere
  bool fold;
  Factor factor;
  TensorValue tensor = {};

  __device__ auto chain_of(const Value& tile) const {
    using Rule = decltype(rule_of(format, tile, tensor));
    const float zero = Statistic::spoils(tile) ? from_bits(0x7fc00000u) : fold ? 0.0f : -0.0f;
    return Chain<Rule, float, Factor>{rule_of(format, tile, tensor), zero, factor};
  }
  // `fill` stands in for a maximum of zero, where the format wants that.
  __device__ Value filled(const Value& tile, float fill) const {
    if constexpr (FillsZeroTiles<F>)
      return tile == 0.0f ? fill : tile;
    else
      return tile;
  }
};

// All-zero tiles of formats that fill them with the smallest non-zero maximum of the whole tensor: where it matters
// they wait until that is known, each zero of them as a NaN that no arithmetic makes, with the zero's sign.
constexpr uint32_t kWaitingZero = 0x7fd5a5a5u;
__device__ __forceinline__ bool is_waiting_zero(float y) { return magnitude_bits(y) == kWaitingZero; }
struct WaitingZero {
  __device__ float operator()(float x) const { return with_sign(from_bits(kWaitingZero), x); }
  __device__ float4 operator()(const float4& v) const {
    return {(*this)(v.x), (*this)(v.y), (*this)(v.z), (*this)(v.w)};
  }
};

struct ZeroTiles {
  bool wait;             // else they count as tiles of ones: the same where the format keeps within a row
  bool waiting = false;  // a tile seen by this thread waits
  uint32_t least = ~0u;  // bits of the smallest non-zero maximum seen by this thread; 0: NaN was among them

  // Of a tile's maximum: does the tile wait?
  __device__ bool see(float max) {
    if (!wait) return false;
    if (max == 0) return waiting = true;
    const uint32_t value = max != max ? 0u : to_bits(max);
    least = value < least ? value : least;
    return false;
  }
  template <class Value>
  __device__ bool see(const Value&) {  // no format with another statistic fills its tiles of zeros
    return false;
  }
};

// Adds once everything that this thread has seen written is visible to whoever sees the sum. A full fence would also
// wait for reads, and would empty the cache of the whole multiprocessor.
__device__ __forceinline__ uint32_t add_released(uint32_t* counter, uint32_t value) {
  uint32_t before;
  asm volatile("atom.add.release.gpu.u32 %0, [%1], %2;" : "=r"(before) : "l"(counter), "r"(value) : "memory");
  return before;
}

// A tensor shared by `count` blocks (or warps), at most 65,535: one thread of each calls this behind a barrier that all
// of its threads pass once their values are written. The last one gets the smallest maximum of all and how many of them
// wait, the others 0. counters: [2] of the tensor, zero before and after.
__device__ __forceinline__ void share_zero_tiles(uint32_t& least, uint32_t& waiting, int count, uint32_t* counters) {
  atomicMax(&counters[1], ~least);                                          // complements: zero is none
  const uint32_t before = add_released(&counters[0], 1 + (waiting << 16));  // who has come; where tiles wait
  const bool last = (before & 0xffffu) == count - 1;
  waiting = last ? waiting + (before >> 16) : 0;
  if (!last) return;
  __threadfence();
  least = ~atomicExch(&counters[1], 0u);
  atomicExch(&counters[0], 0u);
}
__device__ __forceinline__ uint32_t zero_fill(uint32_t least) {
  return least == 0 ? 0x7fc00000u : least == ~0u ? to_bits(1.0f) : least;
}
// What waits in a tensor, by `threads` threads of which this is one.
template <class Map>
__device__ void fill_waiting_zeros(const Map& map, float* y, int size, int thread, int threads) {
  constexpr int kFlight = 8;  // loads under way at once
  for (int first = thread; first < size; first += kFlight * threads) {
    float v[kFlight];
#pragma unroll
    for (int i = 0; i < kFlight; ++i) {
      const int at = first + i * threads;
      v[i] = at < size ? __ldcg(y + at) : 0.0f;  // not from this block's cache: another one may have written it
    }
#pragma unroll
    for (int i = 0; i < kFlight; ++i)
      if (is_waiting_zero(v[i])) y[first + i * threads] = map(with_sign(0.0f, v[i]));
  }
}

// A lane's fours of a row, whose columns are a multiple of four and start on 16 bytes: number lane, lane + 32 ... Some
// are under way before the first is stored: what is read may be what is written, so the compiler would not load ahead.
class RowFours {
 public:
  static constexpr int kFlight = 4, kValues = 4 * kFlight * kWarp;  // loads of a lane under way; values of the warp

  __device__ __forceinline__ RowFours(const float* x, int cols)
      : from_(reinterpret_cast<const float4*>(x)), at_(lane_id()), fours_(cols / 4) {
    next_[0] = load(0);
    if (fours_ <= kWarp) return;  // a short row has nothing to load ahead
#pragma unroll
    for (int i = 1; i < kFlight; ++i) next_[i] = load(i);
  }
  __device__ __forceinline__ bool here() const { return at_ < fours_; }
  __device__ __forceinline__ int at() const { return at_; }
  __device__ __forceinline__ const float4& operator*() const { return next_[0]; }
  __device__ __forceinline__ void operator++() {
#pragma unroll
    for (int i = 0; i + 1 < kFlight; ++i) next_[i] = next_[i + 1];
    next_[kFlight - 1] = load(kFlight);
    at_ += kWarp;
  }

 private:
  __device__ __forceinline__ float4 load(int ahead) const {
    const int at = at_ + ahead * kWarp;
    return at < fours_ ? from_[at] : float4{};
  }
  const float4* from_;
  int at_, fours_;
  float4 next_[kFlight] = {};
};

// One row by one warp; y may be x. Loops over values are not unrolled, here and below: a kernel holds this code once
// for every format, and what a short row runs through it runs through once, so that its length is what takes time.
template <class Map>
__device__ void map_row(const Map& map, const float* x, float* y, int cols) {
  if (cols % 4 == 0 && aligned(x) && aligned(y)) {
#pragma unroll 1
    for (RowFours v(x, cols); v.here(); ++v) reinterpret_cast<float4*>(y)[v.at()] = map(*v);
  } else {
#pragma unroll 1
    for (int c = lane_id(); c < cols; c += kWarp) y[c] = map(x[c]);
  }
}

// Tiles of any size, in 32 bits.
struct TileMap {
  int rows, cols, tile_rows, tile_cols, across, count;
  bool fold;
  __device__ explicit TileMap(const Tiles& t)
      : rows(static_cast<int>(t.rows)),
        cols(static_cast<int>(t.cols)),
        tile_rows(static_cast<int>(t.tile_rows)),
        tile_cols(static_cast<int>(t.tile_cols)),
        across((cols + tile_cols - 1) / tile_cols),
        count(across * ((rows + tile_rows - 1) / tile_rows)),
        fold(t.fold) {}
  __device__ int tile_size() const { return tile_rows * tile_cols; }
};

// A group of threads that takes every step-th tile from `first` on; the groups of a warp (or block) side by side, so
// that all of them stay together.
struct Team {
  int size;         // 1, 2, 4 ... 32, or a whole block
  int first, step;  // of the first group of the warp (or block)
  int group, rank;  // which one this thread belongs to; its rank there
};
__device__ __forceinline__ int lanes_for(int values) {
  int lanes = 1;
  while (lanes < kWarp && lanes < values) lanes *= 2;
  return lanes;
}
__device__ __forceinline__ Team warp_team(int tile_size) {
  const int size = lanes_for(tile_size);
  return {size, 0, kWarp / size, lane_id() / size, lane_id() % size};
}

// Tiles of a statistic whose order is free. join(parts, size): of a group. Every thread of the warp (or block) calls
// it, with as many tiles.
template <class F, class Factor, class Join>
__device__ void quantize_tiles(const TileRules<F, Factor>& rules, const TileMap& map, const Team& team, const float* x,
                               float* y, ZeroTiles& zeros, const Join& join) {
  using S = TileStatistic<F>;
#pragma unroll 1
  for (int base = team.first; base < map.count; base += team.step) {
    const int tile = base + team.group;
    const bool here = tile < map.count;
    const int row = tile / map.across * map.tile_rows, col = tile % map.across * map.tile_cols;
    const int width = min(map.tile_cols, map.cols - col), height = min(map.tile_rows, map.rows - row);
    const int values = here ? width * height : 0;
    const auto place = [&](int i) { return (row + i / width) * map.cols + col + i % width; };
    typename S::Parts parts{};
#pragma unroll 4
    for (int i = team.rank; i < values; i += team.size) parts.join(S::parts(x[place(i)]));
    join(parts, team.size);
    const auto value = S::value(parts, values);
    const bool waits = here && zeros.see(value);
    const auto through = rules.chain_of(rules.filled(value, 1.0f));
#pragma unroll 1
    for (int i = team.rank; i < values; i += team.size) {
      const int at = place(i);
      const float v = x[at];
      y[at] = waits ? WaitingZero{}(v) : through(v);
    }
  }
}

// A tile that is one run of values, by one warp.
template <class F, class Factor>
__device__ void quantize_run(const TileRules<F, Factor>& rules, const float* x, float* y, int count, ZeroTiles& zeros) {
  const auto value = warp_statistic<TileStatistic<F>>(x, count);
  __syncwarp();  // y may be x
  if (zeros.see(value))
    map_row(WaitingZero{}, x, y, count);
  else
    map_row(rules.chain_of(rules.filled(value, 1.0f)), x, y, count);
}

// Tiles of one row, by one warp. Small ones several at once.
template <class F, class Factor>
__device__ void quantize_row_tiles(const TileRules<F, Factor>& rules, int width, const float* x, float* y, int cols,
                                   ZeroTiles& zeros) {
  using S = TileStatistic<F>;
  if (S::Parts::ordered || width > 4 * kWarp) {
#pragma unroll 1
    for (int c = 0; c < cols; c += width) quantize_run(rules, x + c, y + c, min(width, cols - c), zeros);
    return;
  }
  if constexpr (!S::Parts::ordered) {
    const int lanes = width / 4;
    const bool even = width % 4 == 0 && (lanes & (lanes - 1)) == 0 && (cols & (width - 1)) == 0;
    if (!even || !aligned(x) || !aligned(y)) {
      const TileMap map(Tiles{1, 1, cols, 1, width, rules.fold});
      return quantize_tiles(rules, map, warp_team(width), x, y, zeros, JoinLanes{});
    }
#pragma unroll 1
    for (RowFours v(x, cols); __any_sync(kAllLanes, v.here()); ++v) {
      auto parts = parts_of<S>(*v);
      join_lanes(parts, lanes);
      if (!v.here()) continue;
      const auto value = S::value(parts, width);
      reinterpret_cast<float4*>(y)[v.at()] =
          zeros.see(value) ? WaitingZero{}(*v) : rules.chain_of(rules.filled(value, 1.0f))(*v);
    }
  }
}

}  // namespace mpq
