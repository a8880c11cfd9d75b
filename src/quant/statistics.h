// What a format may ask of the values of a tile, or of the whole tensor, before it quantizes them. Two reductions serve
// all: maxima of bit patterns, whose order is free, and sums in float64, pairwise over the values' index (neighbours,
// then neighbouring sums, ..., zeros up to a power of two). So every layout of threads that joins aligned power-of-two
// runs has the same bits.
//
// A statistic is a type without members:
//   Parts                 what is reduced, Maxima<N> or Sums<N>
//   parts(x)              of one value; zeros change nothing
//   Value, value(all, n)  what the format's rule gets, from the parts of all n values joined
//   spoils(value)         whether everything it is about becomes NaN
// One that needs another one of the same values first names it Before: parts(x, before), value(all, n, before).
// Ternary has such a one.
#pragma once
#include <type_traits>

#include "quant/scalar.h"

namespace mpq {

template <int N>
struct Maxima {
  static constexpr int count = N;
  static constexpr bool ordered = false;
  uint32_t of[N];
  HD void join(const Maxima& other) {
    for (int i = 0; i < N; ++i) of[i] = other.of[i] > of[i] ? other.of[i] : of[i];
  }
};

template <int N>
struct Sums {
  static constexpr int count = N;
  static constexpr bool ordered = true;  // only aligned runs of equal length may be joined
  double of[N];
  HD void join(const Sums& other) {
    for (int i = 0; i < N; ++i) of[i] += other.of[i];
  }
};

HD uint32_t magnitude_bits(float x) { return to_bits(x) & 0x7fffffffu; }  // NaN > infinity > numbers

// Largest |x|, NaN if there is one.
struct Largest {
  using Parts = Maxima<1>;
  using Value = float;
  HD static Parts parts(float x) { return {{magnitude_bits(x)}}; }
  HD static Value value(const Parts& all, int64_t) { return from_bits(all.of[0]); }
  HD static bool spoils(Value max) { return max != max; }
};

// Least and largest value; the range reaches zero. NaN where there is one.
struct Extremes {
  using Parts = Maxima<2>;
  struct Value {
    float least, most;
  };
  HD static Parts parts(float x) {
    const uint32_t bits = magnitude_bits(x), negative = 0u - (to_bits(x) >> 31);  // all ones
    return {{bits & negative, bits & ~negative}};
  }
  HD static Value value(const Parts& all, int64_t) { return {-from_bits(all.of[0]), from_bits(all.of[1])}; }
  HD static bool spoils(const Value& range) { return range.least != range.least || range.most != range.most; }
};

// Mean |x|.
struct MeanMagnitude {
  using Parts = Sums<1>;
  using Value = double;
  HD static Parts parts(float x) { return {{magnitude(x)}}; }
  HD static Value value(const Parts& all, int64_t count) { return all.of[0] / static_cast<double>(count); }
  HD static bool spoils(Value mean) { return !finite(mean); }
};

template <class S>
concept AfterAnother = requires {
  typename S::Before;
};
template <class S>
HD constexpr int passes() {
  if constexpr (AfterAnother<S>)
    return 1 + passes<typename S::Before>();
  else
    return 1;
}

// Joins equal aligned runs in the order of their index, as a tree.
template <class Parts>
class Runs {
 public:
  HD void add(Parts run) {
    int level = 0;
    for (uint32_t before = count_++; before & 1; before >>= 1) {
      Parts joined = waiting_[level++];
      joined.join(run);
      run = joined;
    }
    waiting_[level] = run;
  }
  HD Parts all() const {
    Parts all{};
    for (int level = 0; count_ >> level != 0; ++level) {
      if (!(count_ >> level & 1)) continue;
      Parts joined = waiting_[level];
      joined.join(all);
      all = joined;
    }
    return all;
  }

 private:
  Parts waiting_[32];  // [level]: of 2^level runs, where the count has that bit
  uint32_t count_ = 0;
};

// What the format F's rule gets of a tile, and of the whole tensor besides (nothing, unless F names it).
struct NoStatistic {
  struct Value {};
};
template <class F>
HD auto tile_statistic() {
  if constexpr (requires { typename F::Statistic; })
    return typename F::Statistic{};
  else
    return Largest{};
}
template <class F>
HD auto tensor_statistic() {
  if constexpr (requires { typename F::TensorStatistic; })
    return typename F::TensorStatistic{};
  else
    return NoStatistic{};
}
template <class F>
using TileStatistic = decltype(tile_statistic<F>());
template <class F>
using TensorStatistic = decltype(tensor_statistic<F>());
template <class F>
concept AsksForTensor = !std::is_same_v<TensorStatistic<F>, NoStatistic>;
template <class F>
using WidestStatistic = std::conditional_t<AsksForTensor<F>, TensorStatistic<F>, TileStatistic<F>>;

template <class F>
HD auto rule_of(const F& format, const typename TileStatistic<F>::Value& tile,
                const typename TensorStatistic<F>::Value& tensor) {
  if constexpr (AsksForTensor<F>)
    return format.rule(tile, tensor);
  else
    return format.rule(tile);
}

// Whether F's widest statistic is of the whole tensor.
template <class F>
HD bool over_tensor(const F& format) {
  if constexpr (requires { format.over_tensor(); })
    return format.over_tensor();
  else
    return false;
}

template <class F>
concept FillsZeroTiles = requires {
  F::fill_zero_tiles;
};

}  // namespace mpq
