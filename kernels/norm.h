// LayerNorm of one row and its gradient (Ba et al. 2016); sums over the row in 16 lanes.
#pragma once
#include <cmath>

#include "kernels/simd.h"

#include "kernels/isa_begin.h"

struct RowStats {
  float mean, rstd;
};

inline RowStats layer_norm_row(const float* s, const float* gamma, const float* beta, float epsilon, int64_t n, float* x) {
  F16 sum = zero();
  for_lanes(n, [&](int64_t i, M16 m) { sum = sum + load(s + i, m); });
  const float mean = sum_lanes(sum) / static_cast<float>(n);
  F16 squares = zero();
  for_lanes(n, [&](int64_t i, M16 m) {
    const F16 d = select(m, load(s + i, m) - set(mean), zero());
    squares = fma(d, d, squares);
  });
  const float rstd = 1.0f / std::sqrt(sum_lanes(squares) / static_cast<float>(n) + epsilon);
  for_lanes(n, [&](int64_t i, M16 m) {
    store(x + i, fma((load(s + i, m) - set(mean)) * set(rstd), load(gamma + i, m), load(beta + i, m)), m);
  });
  return {mean, rstd};
}

// ds from dx; dgamma and dbeta are added to.
inline void layer_norm_row_grad(const float* s, RowStats stats, const float* gamma, int64_t n, const float* dx, float* ds,
                                float* dgamma, float* dbeta) {
  const F16 mean = set(stats.mean), rstd = set(stats.rstd);
  F16 sum_g = zero(), sum_gx = zero();
  for_lanes(n, [&](int64_t i, M16 m) {
    const F16 d = load(dx + i, m), xhat = select(m, (load(s + i, m) - mean) * rstd, zero());
    const F16 g = d * load(gamma + i, m);
    sum_g = sum_g + g;
    sum_gx = fma(g, xhat, sum_gx);
    store(dgamma + i, fma(d, xhat, load(dgamma + i, m)), m);
    store(dbeta + i, load(dbeta + i, m) + d, m);
  });
  const F16 a = set(sum_lanes(sum_g) / static_cast<float>(n)), b = set(sum_lanes(sum_gx) / static_cast<float>(n));
  for_lanes(n, [&](int64_t i, M16 m) {
    const F16 xhat = (load(s + i, m) - mean) * rstd;
    store(ds + i, (load(dx + i, m) * load(gamma + i, m) - fma(xhat, b, a)) * rstd, m);
  });
}

#include "kernels/isa_end.h"
