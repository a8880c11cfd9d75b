#include "search/sampler.h"

#include <fmt/format.h>

#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "search/grid_sampler.h"
#include "search/halton_sampler.h"
#include "search/random_sampler.h"
#include "search/tpe_sampler.h"

namespace mpq {

namespace {

constexpr int64_t kLookedAt = int64_t{1} << 20, kMost = std::numeric_limits<int64_t>::max();

using Options = const SamplerOptions&;
using Space = const SearchSpace&;
using Further = const FurtherParameters&;
using Made = std::unique_ptr<Sampler>;

constexpr struct {
  const char* name;
  Made (*make)(Options, Space, Further);
} samplers[] = {
    {"tpe", [](Options o, Space, Further) -> Made { return std::make_unique<TpeSampler>(o.seed, o.multivariate); }},
    {"random", [](Options o, Space, Further) -> Made { return std::make_unique<RandomSampler>(o.seed); }},
    {"grid", [](Options o, Space s, Further f) -> Made { return std::make_unique<GridSampler>(o.seed, s, f); }},
    {"halton", [](Options o, Space, Further) -> Made { return std::make_unique<HaltonSampler>(o.seed); }},
};

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

std::vector<std::string> sampler_names() {
  std::vector<std::string> names;
  for (const auto& sampler : samplers) names.emplace_back(sampler.name);
  return names;
}

std::unique_ptr<Sampler> make_sampler(const SamplerOptions& options, const SearchSpace& space,
                                      const FurtherParameters& further) {
  for (const auto& sampler : samplers)
    if (options.name == sampler.name) return sampler.make(options, space, further);
  throw UserError(fmt::format("--sampler '{}': no such sampler", options.name),
                  "allowed: " + join(sampler_names(), ", "));
}

}  // namespace mpq
