// Residual + dropout + LayerNorm.
#include "kernels/norm.h"

#include <algorithm>

#include "kernels/copies.h"
#include "kernels/cpu.h"
#include "kernels/dropout.h"

#include "kernels/isa_begin.h"

static constexpr int64_t kRows = 64;  // a task

void CpuOps::residual_norm(const ResidualNorm& op) {
  const int64_t C = op.x.cols();
  for_rows(op.x.replicas, op.x.rows(), kRows, [&](int r, int64_t first, int64_t last) {
    const DropoutKey key = dropout_key(op.dropout, r);
    for_ragged_rows(op.ragged, first, last, [&](int b, int position, int64_t row) {
      float* s = op.sum.f32(r) + row * C;
      const float* y = op.y.f32(r) + row * C;
      if (s != y) std::copy_n(y, C, s);
      apply_dropout(key, position, b, C, s);
      if (op.residual) {
        const float* residual = op.residual.f32(r) + row * C;
        for_lanes(C, [&](int64_t i, M16 m) { store(s + i, load(s + i, m) + load(residual + i, m), m); });
      }
      const RowStats stats = layer_norm_row(s, op.gamma.f32(r), op.beta.f32(r), op.epsilon, C, op.x.f32(r) + row * C);
      op.mean.f32(r)[row] = stats.mean;
      op.rstd.f32(r)[row] = stats.rstd;
    });
    quantize_rows(op.quantized, op.x, r, first, last);
  });
  quantize_sequences(op.quantized, op.x, op.ragged);
}

void CpuOps::residual_norm_grad(const ResidualNormGrad& op) {
  const ResidualNorm& f = op.forward;
  const int64_t C = f.x.cols();
  norm_column_grads({f.sum, f.mean, f.rstd, op.dx, op.dgamma, op.dbeta});
  for_rows(f.x.replicas, f.x.rows(), kRows, [&](int r, int64_t first, int64_t last) {
    const DropoutKey key = dropout_key(f.dropout, r);
    for_ragged_rows(f.ragged, first, last, [&](int b, int position, int64_t row) {
      float* dy = op.dy.f32(r) + row * C;
      layer_norm_row_grad(f.sum.f32(r) + row * C, {f.mean.f32(r)[row], f.rstd.f32(r)[row]}, f.gamma.f32(r), C,
                          op.dx.f32(r) + row * C, dy);
      if (op.dresidual) std::copy_n(dy, C, op.dresidual.f32(r) + row * C);
      apply_dropout(key, position, b, C, dy);
    });
  });
}

#include "kernels/isa_end.h"
