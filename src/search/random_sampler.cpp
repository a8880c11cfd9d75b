#include "search/random_sampler.h"

#include <algorithm>
#include <cmath>

namespace mpq {
namespace {

double draw(const CategoricalDistribution& d, RandomStream& stream) {
  size_t best = 0;
  double most = -1;
  for (size_t i = 0; i < d.choices.size(); ++i)
    if (const double u = stream.uniform(); u > most) most = u, best = i;
  return static_cast<double>(best);
}

double draw_between(double low, double high, bool log, RandomStream& stream) {
  if (log) low = std::log(low), high = std::log(high);
  const double x = low + (high - low) * stream.uniform();
  return log ? std::exp(x) : x;
}

double draw(const IntDistribution& d, RandomStream& stream) {
  const double low = static_cast<double>(d.low), high = static_cast<double>(d.high), q = static_cast<double>(d.step);
  const double x = draw_between(low - q / 2, high + q / 2, d.log, stream);
  return std::clamp(low + std::floor((x - low) / q + 0.5) * q, low, high);
}

double draw(const FloatDistribution& d, RandomStream& stream) {
  if (!d.step) {
    const double x = draw_between(d.low, d.high, d.log, stream);
    return d.low == d.high ? x : std::min(x, std::nextafter(d.high, d.high - 1));
  }
  const double q = *d.step, x = draw_between(d.low - q / 2, d.high + q / 2, false, stream);
  return std::clamp(d.low + std::nearbyint((x - d.low) / q) * q, d.low, d.high);
}

}  // namespace

double draw_uniformly(const Distribution& distribution, RandomStream& stream) {
  return std::visit([&](const auto& d) { return draw(d, stream); }, distribution);
}

double RandomSampler::suggest(const std::string&, const std::shared_ptr<const Distribution>& distribution) {
  return draw_uniformly(*distribution, stream_);
}

}  // namespace mpq
