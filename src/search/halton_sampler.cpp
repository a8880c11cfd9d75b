#include "search/halton_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/philox.h"

namespace mpq {
namespace {

uint32_t nth_prime(uint32_t n) {
  for (uint32_t candidate = 2;; ++candidate) {
    bool prime = true;
    for (uint32_t d = 2; d * d <= candidate && prime; ++d) prime = candidate % d != 0;
    if (prime && n-- == 0) return candidate;
  }
}

// What `digit` becomes at one place of one dimension: Fisher-Yates over the base's digits.
uint32_t permuted(uint32_t digit, uint32_t base, uint32_t place, uint32_t dimension, uint32_t seed) {
  std::vector<uint32_t> order(base);
  std::iota(order.begin(), order.end(), 0);
  for (uint32_t i = base - 1; i >= 1; --i) {
    const uint64_t word = philox(i, place, dimension, 0, seed, 0).word[0];
    std::swap(order[i], order[static_cast<uint32_t>(word * (i + 1) >> 32)]);
  }
  return order[digit];
}

double between(double low, double high, bool log, double u) {
  return log ? std::exp(std::log(low) + (std::log(high) - std::log(low)) * u) : low + (high - low) * u;
}

// The share u of the way through a parameter's values: equal parts for what can be listed, unless it is logarithmic.
double value_at(const Distribution& distribution, double u) {
  if (const auto* d = std::get_if<IntDistribution>(&distribution); d && d->log) {
    const auto low = static_cast<double>(d->low), high = static_cast<double>(d->high);
    return std::clamp(std::nearbyint(between(low - 0.5, high + 0.5, true, u)), low, high);
  }
  if (const auto* d = std::get_if<FloatDistribution>(&distribution); d && !d->step)
    return std::clamp(between(d->low, d->high, d->log, u), d->low, d->high);
  const int64_t values = *count_values(distribution);
  return nth_value(distribution, std::min(static_cast<int64_t>(u * static_cast<double>(values)), values - 1));
}

}  // namespace

double halton(uint64_t index, uint32_t dimension, uint32_t seed) {
  const uint32_t base = nth_prime(dimension);
  double u = 0, share = 1;
  for (uint32_t place = 0; share > 0x1p-40; ++place) {  // the zeros before the index's first digit are permuted too
    share /= base;
    u += share * permuted(static_cast<uint32_t>(index % base), base, place, dimension, seed);
    index /= base;
  }
  return u;
}

double HaltonSampler::suggest(const std::string&, const std::shared_ptr<const Distribution>& distribution) {
  return value_at(*distribution, halton(trial_, dimension_++, seed_));
}

}  // namespace mpq
