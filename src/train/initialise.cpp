#include "train/initialise.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/parallel.h"
#include "base/philox.h"
#include "base/text.h"

namespace mpq {
namespace {

// Box and Muller on two uniforms; drawn again while outside two deviations.
double truncated_normal(uint64_t seed, uint32_t site, uint64_t element) {
  for (uint32_t attempt = 0;; ++attempt) {
    const Philox random = philox(static_cast<uint32_t>(element), static_cast<uint32_t>(element >> 32), attempt, site,
                                 static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    const double u = (random.word[0] + 0.5) * 0x1p-32, angle = random.word[1] * 0x1p-32 * 2 * std::numbers::pi;
    const double radius = std::sqrt(-2 * std::log(u));
    for (const double x : {radius * std::cos(angle), radius * std::sin(angle)})
      if (std::abs(x) <= 2) return x;
  }
}

}  // namespace

std::vector<float> initial_values(const Parameter& p, uint64_t seed, double deviation) {
  std::vector<float> values(p.shape.size(), 0.0f);
  if (p.name.ends_with("LayerNorm.weight")) values.assign(values.size(), 1.0f);
  if (!p.name.ends_with(".weight") || p.name.ends_with("LayerNorm.weight")) return values;
  const auto site = static_cast<uint32_t>(hash64(p.name));
  constexpr size_t chunk = 1 << 12;
  parallel_for(static_cast<int64_t>((values.size() + chunk - 1) / chunk), [&](int64_t task) {
    const size_t first = static_cast<size_t>(task) * chunk;
    for (size_t i = first; i < std::min(values.size(), first + chunk); ++i)
      values[i] = static_cast<float>(deviation * truncated_normal(seed, site, i));
  });
  return values;
}

std::vector<float> initial_adapters(const Bert& model, int rank, uint64_t seed) {
  std::vector<float> values(model.adapters->shape.size(), 0.0f);
  for (const AdapterPlace& place : adapter_places(model, rank)) {
    const auto site = static_cast<uint32_t>(hash64(place.linear->name + ".lora_A"));
    const double bound = 1 / std::sqrt(static_cast<double>(place.K));
    for (int64_t i = 0; i < rank * place.K; ++i) {
      const Philox random = philox(static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), 0, site,
                                   static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
      values[place.a + i] = static_cast<float>(bound * (2.0 * to_uniform(random.word[0]) - 1));
    }
  }
  return values;
}

}  // namespace mpq
