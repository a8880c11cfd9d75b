#include "search/grid_sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <numeric>

#include "base/error.h"
#include "base/philox.h"
#include "search/random_stream.h"

namespace mpq {
namespace {

constexpr int64_t kListed = int64_t{1} << 20, kMost = int64_t{1} << 62;

int64_t checked_points(const SearchSpace& space, const FurtherParameters& further) {
  if (space.empty()) throw UserError("sampler grid: the space is empty", "a grid needs its parameters beforehand");
  const auto points = count_points(space, further);
  if (!points) throw UserError("sampler grid: a parameter is continuous", "give it a step, or use tpe or random");
  if (*points > kMost)
    throw UserError("sampler grid: the space has more than 2^62 points", "use tpe or random, or give fewer choices");
  return *points;
}

// Fisher-Yates as NumPy's RandomState.shuffle does it.
std::vector<uint32_t> shuffled_indices(uint32_t points, uint32_t seed) {
  std::vector<uint32_t> order(points);
  std::iota(order.begin(), order.end(), 0);
  RandomStream stream(seed);
  for (uint32_t i = points - 1; i >= 1; --i) std::swap(order[i], order[stream.integer(i)]);
  return order;
}

// A permutation of 0 ... 2^(2 half) - 1: four Feistel rounds with Philox as the round function.
uint64_t feistel(uint64_t value, int half, uint32_t seed) {
  const uint64_t mask = (uint64_t{1} << half) - 1;
  uint64_t left = value >> half, right = value & mask;
  for (uint32_t round = 0; round < 4; ++round) {
    const Philox f = philox(static_cast<uint32_t>(right), static_cast<uint32_t>(right >> 32), round, 0, seed, 0);
    left ^= f.word[0] & mask;
    std::swap(left, right);
  }
  return left << half | right;
}

SearchSpace sorted(SearchSpace space) {
  std::sort(space.begin(), space.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return space;
}

}  // namespace

GridSampler::GridSampler(uint32_t seed, const SearchSpace& space, const FurtherParameters& further)
    : space_(sorted(space)), further_(further), points_(checked_points(space, further)), seed_(seed) {
  int64_t first = 0;
  for (int64_t i = 0; further_ && i < *count_points(space_); ++i) {
    first_.push_back(first);
    first += *count_points(further_(nth_point(space_, i)));
  }
  if (points_ <= kListed) order_ = shuffled_indices(static_cast<uint32_t>(points_), seed);
}

int64_t GridSampler::shuffled(int64_t number) const {
  if (!order_.empty()) return order_[static_cast<size_t>(number)];
  const int half = (std::bit_width(static_cast<uint64_t>(points_ - 1)) + 1) / 2;
  auto value = static_cast<uint64_t>(number);
  do value = feistel(value, half, seed_);  // walk the cycle until it is back among the points
  while (value >= static_cast<uint64_t>(points_));
  return static_cast<int64_t>(value);
}

void GridSampler::begin(const History& history) {
  int64_t point = shuffled(static_cast<int64_t>(history.trials.size()) % points_);
  if (!further_) {
    point_ = nth_point(space_, point);
    return;
  }
  const auto base = std::upper_bound(first_.begin(), first_.end(), point) - first_.begin() - 1;
  point_ = nth_point(space_, base);
  const FrozenTrial rest = nth_point(sorted(further_(point_)), point - first_[static_cast<size_t>(base)]);
  point_.params.insert(point_.params.end(), rest.params.begin(), rest.params.end());
}

double GridSampler::suggest(const std::string& name, const std::shared_ptr<const Distribution>&) {
  if (const TrialParameter* p = point_.find(name)) return p->value;
  throw UserError(fmt::format("sampler grid: parameter '{}' is not in the space", name),
                  "a grid needs its parameters beforehand");
}

}  // namespace mpq
