// Residual + dropout + LayerNorm.
#include "kernels/norm.h"

#include <algorithm>

#include "kernels/copies.h"
#include "kernels/cpu.h"
#include "kernels/dropout.h"
#include "kernels/partial_sums.h"

#include "kernels/isa_begin.h"

void CpuOps::residual_norm(const ResidualNorm& op) {
  const int64_t C = op.x.cols();
  for_rows(op.x.replicas, op.x.rows(), kSumRows, [&](int r, int64_t first, int64_t last) {
    const DropoutKey key = dropout_key(op.dropout, r);
    for_ragged_rows(op.ragged, first, last, [&](int b, int position, int64_t row) {
      float* s = op.y.f32(r) + row * C;
      const float* residual = op.residual.f32(r) + row * C;
      apply_dropout(key, position, b, C, s);
      for_lanes(C, [&](int64_t i, M16 m) { store(s + i, load(s + i, m) + load(residual + i, m), m); });
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
  PartialSums sums(f.x.replicas, f.x.rows(), 2 * C);
  for_rows(f.x.replicas, f.x.rows(), kSumRows, [&](int r, int64_t first, int64_t last) {
    const DropoutKey key = dropout_key(f.dropout, r);
    float* part = sums.part(r, first);
    for_ragged_rows(f.ragged, first, last, [&](int b, int position, int64_t row) {
      float* dy = op.dy.f32(r) + row * C;
      layer_norm_row_grad(f.y.f32(r) + row * C, {f.mean.f32(r)[row], f.rstd.f32(r)[row]}, f.gamma.f32(r), C,
                          op.dx.f32(r) + row * C, dy, part, part + C);
      if (op.dresidual) std::copy_n(dy, C, op.dresidual.f32(r) + row * C);
      apply_dropout(key, position, b, C, dy);
    });
  });
  sums.add_up([&](int r, int64_t column, float value) {
    (column < C ? op.dgamma.f32(r)[column] : op.dbeta.f32(r)[column - C]) = value;
  });
}

#include "kernels/isa_end.h"
