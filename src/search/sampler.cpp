#include "search/sampler.h"

#include <fmt/format.h>

#include <limits>

#include "base/error.h"
#include "search/grid_sampler.h"
#include "search/random_sampler.h"
#include "search/tpe_sampler.h"

namespace mpq {

namespace {

constexpr int64_t kLookedAt = int64_t{1} << 20, kMost = std::numeric_limits<int64_t>::max();

}  // namespace

std::optional<int64_t> count_points(const SearchSpace& space, const FurtherParameters& further) {
  int64_t points = 1;
  for (const auto& [name, distribution] : space) {
    const auto values = count_values(distribution);
    if (!values) return std::nullopt;
    if (__builtin_mul_overflow(points, *values, &points)) points = kMost;
  }
  if (!further) return points;
  if (points > kLookedAt) return kMost;
  int64_t all = 0;
  for (int64_t i = 0; i < points; ++i) {
    const auto more = count_points(further(nth_point(space, i)));
    if (!more) return std::nullopt;
    if (__builtin_add_overflow(all, *more, &all)) all = kMost;
  }
  return all;
}

FrozenTrial nth_point(const SearchSpace& space, int64_t i) {
  FrozenTrial point;
  for (size_t d = space.size(); d-- > 0;) {
    const int64_t values = *count_values(space[d].second);
    point.params.push_back({space[d].first, std::make_shared<const Distribution>(space[d].second),
                            nth_value(space[d].second, i % values)});
    i /= values;
  }
  return point;
}

std::unique_ptr<Sampler> make_sampler(const SamplerOptions& options, const SearchSpace& space,
                                      const FurtherParameters& further) {
  if (options.name == "random") return std::make_unique<RandomSampler>(options.seed);
  if (options.name == "grid") return std::make_unique<GridSampler>(options.seed, space, further);
  if (options.name == "tpe") return std::make_unique<TpeSampler>(options.seed, options.multivariate);
  throw UserError(fmt::format("--sampler '{}': no such sampler", options.name), "allowed: tpe, random, grid");
}

}  // namespace mpq
