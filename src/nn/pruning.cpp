#include "nn/pruning.h"

#include <algorithm>
#include <numeric>

#include "base/parallel.h"
#include "base/philox.h"
#include "base/text.h"
#include "quant/quantile.h"

namespace mpq {

std::string to_text(const Pruning& pruning, const Bert& model) {
  if (!pruning) return "";
  std::vector<std::string> names;
  for (const Linear* linear : model.linears())
    if (pruning.covers(*linear)) names.push_back(linear->name);
  return fmt::format("weights {} activations {} linears {} seed {}", to_text(pruning.weights),
                     to_text(pruning.activations), names.size() == model.linears().size() ? "all" : join(names, ","),
                     pruning.seed);
}

namespace {

using Floats = std::vector<float>;

constexpr uint32_t kMaskStream = 0x70727565;  // "prue": apart from initialisation, dropout and shuffling

// Uniform in [0, 1), by address.
Floats random_scores(const Linear& linear, uint64_t seed) {
  Floats scores(linear.weight->shape.size());
  const auto site = static_cast<uint32_t>(hash64(linear.name));
  parallel_for(linear.weight->shape[0], [&](int64_t row) {
    const int64_t cols = linear.weight->shape[1];
    for (int64_t i = 0; i < cols; ++i)
      scores[row * cols + i] = to_uniform(philox(static_cast<uint32_t>(i), static_cast<uint32_t>(row), kMaskStream,
                                                 site, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32))
                                              .word[0]);
  });
  return scores;
}

Floats magnitudes(const Floats& weights) {
  Floats scores(weights.size());
  std::transform(weights.begin(), weights.end(), scores.begin(), magnitude);
  return scores;
}

// The quantile of all values of several arrays.
float quantile_of(const std::vector<const Floats*>& arrays, float q) {
  int64_t count = 0;
  for (const Floats* values : arrays) count += static_cast<int64_t>(values->size());
  const auto below = [&](uint32_t limit) {
    int64_t total = 0;
    for (const Floats* values : arrays)
      for (const float v : *values) total += order_of(v) < limit;
    return total;
  };
  const auto least_from = [&](uint32_t limit) {
    uint32_t least = UINT32_MAX;
    for (const Floats* values : arrays)
      for (const float v : *values)
        if (order_of(v) >= limit) least = std::min(least, order_of(v));
    return least;
  };
  return quantile(q, count, below, least_from);
}

std::vector<uint8_t> above(const Floats& scores, float threshold) {
  std::vector<uint8_t> mask(scores.size());
  std::transform(scores.begin(), scores.end(), mask.begin(), [&](float s) { return stays(s, threshold); });
  return mask;
}

// Of every m neighbours the n with the largest scores; of equal ones the first.
std::vector<uint8_t> largest_of_neighbours(const Floats& scores, int n, int m) {
  std::vector<uint8_t> mask(scores.size(), 0);
  std::vector<size_t> order(m);
  for (size_t at = 0; at < scores.size(); at += m) {
    std::iota(order.begin(), order.end(), at);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    for (int i = 0; i < n; ++i) mask[order[i]] = 1;
  }
  return mask;
}

void check_pattern(const PruneSpec& spec, const Linear& linear) {
  if (spec.m > 0 && linear.weight->shape[1] % spec.m != 0)
    throw UserError(fmt::format("pruning {}: {} has {} inputs", to_text(spec), linear.name, linear.weight->shape[1]),
                    fmt::format("they must be a multiple of {}", spec.m));
}

// `threshold`: of global magnitudes; others have their own.
std::vector<uint8_t> mask_of(const PruneSpec& spec, const Floats& scores, float threshold) {
  if (spec.m > 0) return largest_of_neighbours(scores, spec.n, spec.m);
  if (spec.method == PruneMethod::random) {
    std::vector<uint8_t> mask(scores.size());
    std::transform(scores.begin(), scores.end(), mask.begin(), [&](float s) { return s >= spec.sparsity; });
    return mask;
  }
  if (spec.sparsity == 0) return above(scores, keep_all);
  return above(scores, spec.scope == PruneScope::global ? threshold : quantile_of({&scores}, spec.sparsity));
}

}  // namespace

WeightMasks draw_masks(const Bert& model, const Pruning& pruning, const std::vector<Floats>& weights) {
  const PruneSpec& spec = pruning.weights;
  if (!spec) return {};
  std::vector<Floats> scores(model.linears().size());
  std::vector<const Floats*> pruned;
  for (const Linear* linear : model.linears()) {
    if (!pruning.covers(*linear)) continue;
    check_pattern(spec, *linear);
    Floats& s = scores[linear->index];
    s = spec.method == PruneMethod::l1 ? magnitudes(weights[linear->index]) : random_scores(*linear, pruning.seed);
    pruned.push_back(&s);
  }
  const bool global = spec.method == PruneMethod::l1 && spec.scope == PruneScope::global && !pruned.empty();
  const float threshold = global ? quantile_of(pruned, spec.sparsity) : 0;
  WeightMasks masks(scores.size());
  for (size_t i = 0; i < scores.size(); ++i)
    if (!scores[i].empty()) masks[i] = mask_of(spec, scores[i], threshold);
  return masks;
}

void intersect(WeightMasks& masks, const WeightMasks& others) {
  if (masks.empty()) masks.resize(others.size());
  for (size_t i = 0; i < others.size(); ++i) {
    if (masks[i].empty()) masks[i].resize(others[i].size(), 1);
    for (size_t k = 0; k < others[i].size(); ++k) masks[i][k] &= others[i][k];
  }
}

}  // namespace mpq
