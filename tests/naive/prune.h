// Pruning as anybody would write it: sorted magnitudes, one element after the other.
#pragma once
#include <algorithm>
#include <cmath>

#include "quant/prune_spec.h"
#include "tests/naive/ops.h"

namespace mpq::naive {

// torch.quantile(values, q): linear interpolation between order statistics, the rank in float32.
template <class Real>
Real quantile(Array<Real> values, float q) {
  std::sort(values.begin(), values.end());
  const float rank = q * static_cast<float>(values.size() - 1);
  const auto below = static_cast<size_t>(std::floor(rank)), above = static_cast<size_t>(std::ceil(rank));
  const Real weight = rank - std::floor(rank), gap = values[above] - values[below];
  return weight < Real(0.5) ? values[below] + weight * gap : values[above] - gap * (1 - weight);
}

template <class Real>
Array<Real> magnitudes(const Array<Real>& x) {
  Array<Real> m;
  for (const Real v : x) m.push_back(std::abs(v));
  return m;
}

// from [T, C] where `spec` keeps x [T, C]; numbers: of the sequences.
template <class Real>
Array<Real> prune(const PruneSpec& spec, const Array<Real>& x, const Array<Real>& from, const Rows& rows, int C,
                  Mask draw, const std::vector<uint32_t>& numbers) {
  Array<Real> kept = from;
  draw.p = spec.method == PruneMethod::random ? spec.sparsity : 0;
  draw.first = 0;
  for (int b = 0; b < rows.sequences(); ++b)
    for (int i = 0; i < rows.length(b); ++i) {
      const int64_t at = int64_t{rows.starts[b] + i} * C;
      const Array<Real> row = magnitudes(Array<Real>(&x[at], &x[at] + C));
      const bool l1 = spec.method == PruneMethod::l1 && spec.sparsity > 0;
      const Real threshold = l1 ? quantile(row, spec.sparsity) : Real(-1);
      for (int c = 0; c < C; ++c)
        if (row[c] <= threshold || dropout_factor<Real>(draw, i, numbers[b], c) == 0) kept[at + c] = 0;
    }
  return kept;
}

}  // namespace mpq::naive
