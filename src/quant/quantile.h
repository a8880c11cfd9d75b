// The quantile of non-negative values by linear interpolation, as torch.quantile computes it, on exact order
// statistics: host and device find the same bits, whatever order they look at the values in.
#pragma once
#include "quant/scalar.h"

namespace mpq {

// The order statistics that the quantile lies between: number `below` (from 0) and its successor.
struct QuantileRank {
  int64_t below;
  float weight;  // of the successor, [0, 1)
};
HD QuantileRank quantile_rank(float q, int64_t count) {
  const float rank = product(q, static_cast<float>(count - 1));
  const auto below = static_cast<int64_t>(rank);
  return {below < count ? below : count - 1, rank - static_cast<float>(below)};
}

// torch.lerp: from the nearer end, so that a weight of 0 gives `below` to the bit.
HD float interpolate(float below, float above, float weight) {
  const float gap = above - below;
  return weight < 0.5f ? below + product(weight, gap) : above - product(gap, 1 - weight);
}

// Non-negative floats have the order of their bits; a NaN stands behind infinity.
HD uint32_t order_of(float x) { return to_bits(x) & 0x7fffffffu; }

// Order statistic k (from 0) of values by their order_of, in 31 halvings; below(limit) counts the values under a limit.
template <class Below>
HD uint32_t order_statistic(int64_t k, Below below) {
  uint32_t found = 0;
  for (uint32_t bit = 1u << 30; bit != 0; bit >>= 1)
    if (below(found | bit) <= k) found |= bit;
  return found;
}

// least_from(limit): the smallest value not under a limit; asked for only where there is one.
template <class Below, class LeastFrom>
HD float quantile(float q, int64_t count, Below below, LeastFrom least_from) {
  const QuantileRank rank = quantile_rank(q, count);
  const uint32_t low = order_statistic(rank.below, below);
  if (rank.weight == 0 || rank.below + 1 >= count) return from_bits(low);
  const uint32_t high = below(low + 1) > rank.below + 1 ? low : least_from(low + 1);
  return high < order_of(INFINITY) ? interpolate(from_bits(low), from_bits(high), rank.weight) : from_bits(low);
}

// What l1 pruning keeps: magnitudes above the threshold (and a NaN, which must not hide). keep_all is below all of
// them.
HD bool stays(float x, float threshold) {
  return static_cast<int32_t>(order_of(x)) > static_cast<int32_t>(to_bits(threshold));
}
inline constexpr float keep_all = -1;

}  // namespace mpq
