#include "search/sampler.h"

#include <fmt/format.h>

#include <limits>

#include "base/error.h"
#include "search/grid_sampler.h"
#include "search/random_sampler.h"
#include "search/tpe_sampler.h"

namespace mpq {

std::optional<int64_t> count_points(const SearchSpace& space) {
  int64_t points = 1;
  for (const auto& [name, distribution] : space) {
    const auto values = count_values(distribution);
    if (!values) return std::nullopt;
    if (__builtin_mul_overflow(points, *values, &points)) points = std::numeric_limits<int64_t>::max();
  }
  return points;
}

std::unique_ptr<Sampler> make_sampler(const SamplerOptions& options, const SearchSpace& space) {
  if (options.name == "random") return std::make_unique<RandomSampler>(options.seed);
  if (options.name == "grid") return std::make_unique<GridSampler>(options.seed, space);
  if (options.name == "tpe") return std::make_unique<TpeSampler>(options.seed, options.multivariate);
  throw UserError(fmt::format("--sampler '{}': no such sampler", options.name), "allowed: tpe, random, grid");
}

}  // namespace mpq
