// LayerNorm of one row and its gradient (Ba et al. 2016); sums over the row in 16 lanes.
#pragma once
#include <cmath>

#include "kernels/cpu.h"
#include "kernels/simd.h"

#include "kernels/isa_begin.h"

struct RowStats {
  float mean, rstd;
};

inline RowStats layer_norm_row(const float* s, const float* gamma, const float* beta, float epsilon, int64_t n,
                               float* x) {
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

// ds from dx.
inline void layer_norm_row_grad(const float* s, RowStats stats, const float* gamma, int64_t n, const float* dx,
                                float* ds) {
  const F16 mean = set(stats.mean), rstd = set(stats.rstd);
  F16 sum_g = zero(), sum_gx = zero();
  for_lanes(n, [&](int64_t i, M16 m) {
    const F16 g = load(dx + i, m) * load(gamma + i, m), xhat = (load(s + i, m) - mean) * rstd;
    sum_g = sum_g + g;
    sum_gx = fma(g, xhat, sum_gx);
  });
  const F16 a = set(sum_lanes(sum_g) / static_cast<float>(n)), b = set(sum_lanes(sum_gx) / static_cast<float>(n));
  for_lanes(n, [&](int64_t i, M16 m) {
    const F16 xhat = (load(s + i, m) - mean) * rstd;
    store(ds + i, (load(dx + i, m) * load(gamma + i, m) - fma(xhat, b, a)) * rstd, m);
  });
}

// dgamma and dbeta: for each column one chain over the rows in ascending order, so that rows of zero gradient (a
// CLS-only layer leaves them out) change nothing.
struct NormColumns {
  Tensor s, mean, rstd, dx, dgamma, dbeta;
};
inline void norm_column_grads(const NormColumns& op) {
  if (!op.dgamma) return;  // frozen, beta too
  const int64_t rows = op.s.rows(), C = op.s.cols();
  for_rows(op.dx.replicas, C, 16, [&](int r, int64_t first, int64_t last) {
    const M16 m = first_lanes(static_cast<int>(last - first));
    const float *s = op.s.f32(r) + first, *dx = op.dx.f32(r) + first, *mean = op.mean.f32(r), *rstd = op.rstd.f32(r);
    D16 dgamma = zero_double(), dbeta = zero_double();
    for (int64_t row = 0; row < rows; ++row) {
      const F16 d = load(dx + row * C, m);
      dgamma = dgamma + d * ((load(s + row * C, m) - set(mean[row])) * set(rstd[row]));
      dbeta = dbeta + d;
    }
    store(op.dgamma.f32(r) + first, to_float(dgamma), m);
    store(op.dbeta.f32(r) + first, to_float(dbeta), m);
  });
}

#include "kernels/isa_end.h"
