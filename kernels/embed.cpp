// Embeddings: word + position + type, LayerNorm, dropout; and the gradients of the three tables.
#include <algorithm>

#include "kernels/copies.h"
#include "kernels/cpu.h"
#include "kernels/dropout.h"
#include "kernels/norm.h"
#include "quant/spec.h"

#include "kernels/isa_begin.h"

namespace {

constexpr int64_t kRows = 64;  // a task

void add_row(float* to, const float* from, int64_t n) {
  for_lanes(n, [&](int64_t i, M16 m) { store(to + i, load(to + i, m) + load(from + i, m), m); });
}

// Every token is of type 0 (one text, no pair).
void type_grad(const EmbedGrad& op, int64_t rows, int64_t C) {
  for_rows(op.dtype.replicas, C, 16, [&](int r, int64_t first, int64_t last) {
    const M16 m = first_lanes(static_cast<int>(last - first));
    D16 sum = zero_double();
    for (int64_t row = 0; row < rows; ++row) sum = sum + load(op.dx.f32(r) + row * C + first, m);
    store(op.dtype.f32(r) + first, to_float(sum), m);
    for (int64_t t = 1; t < op.dtype.rows(); ++t) store(op.dtype.f32(r) + t * C + first, zero(), m);
  });
}

}  // namespace

void CpuOps::embed(const Embed& op) {
  const int64_t C = op.x.cols();
  for_rows(op.x.replicas, op.x.rows(), kRows, [&](int r, int64_t first, int64_t last) {
    const DropoutKey key = dropout_key(op.dropout, r);
    const float *word = op.word.f32(r), *position_table = op.position.f32(r), *type = op.type.f32(r);
    for_ragged_rows(op.ragged, first, last, [&](int b, int position, int64_t row) {
      const float *w = word + op.tokens[row] * C, *p = position_table + position * C;
      float *s = op.sum.f32(r) + row * C, *x = op.x.f32(r) + row * C;
      for_lanes(C, [&](int64_t i, M16 m) { store(s + i, load(w + i, m) + load(type + i, m) + load(p + i, m), m); });
      const RowStats stats = layer_norm_row(s, op.gamma.f32(r), op.beta.f32(r), op.epsilon, C, x);
      op.mean.f32(r)[row] = stats.mean;
      op.rstd.f32(r)[row] = stats.rstd;
      apply_dropout(key, position, b, C, x);
    });
    quantize_rows(op.quantized, op.x, r, first, last);
  });
  quantize_sequences(op.quantized, op.x, op.ragged);
}

void CpuOps::embed_grad(const EmbedGrad& op) {
  const Embed& f = op.forward;
  const int64_t C = f.x.cols(), T = f.x.rows();
  const int replicas = f.x.replicas;
  for_rows(replicas, T, kRows, [&](int r, int64_t first, int64_t last) {
    const DropoutKey key = dropout_key(f.dropout, r);
    for_ragged_rows(f.ragged, first, last, [&](int b, int position, int64_t row) {
      apply_dropout(key, position, b, C, op.dx.f32(r) + row * C);
    });
  });
  norm_column_grads({f.sum, f.mean, f.rstd, op.dx, op.dgamma, op.dbeta});
  for_rows(replicas, T, kRows, [&](int r, int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      float* dx = op.dx.f32(r) + row * C;
      layer_norm_row_grad(f.sum.f32(r) + row * C, {f.mean.f32(r)[row], f.rstd.f32(r)[row]}, f.gamma.f32(r), C, dx, dx);
    }
  });
  if (op.dtype) type_grad(op, T, C);
  // Distinct tokens, and positions over the sequences that reach them: both in ascending order of rows.
  if (op.dword)
    for_rows(replicas, *op.segments.count, 64, [&](int r, int64_t first, int64_t last) {
      for (int64_t u = first; u < last; ++u) {
        float* to = op.dword.f32(r) + u * C;
        std::fill_n(to, C, 0.0f);
        for (int32_t i = op.segments.starts[u]; i < op.segments.starts[u + 1]; ++i)
          add_row(to, op.dx.f32(r) + int64_t{op.segments.order[i]} * C, C);
      }
    });
  if (!op.dposition) return;
  for_rows(replicas, op.dposition.rows(), 32, [&](int r, int64_t first, int64_t last) {
    for (int64_t p = first; p < last; ++p) {
      float* to = op.dposition.f32(r) + p * C;
      std::fill_n(to, C, 0.0f);
      for (int32_t b = 0; b < f.ragged.sequences; ++b)
        if (f.ragged.starts[b] + p < f.ragged.starts[b + 1])
          add_row(to, op.dx.f32(r) + (f.ragged.starts[b] + p) * C, C);
    }
  });
}

void CpuOps::select_first(const SelectFirst& op) {
  const int64_t C = op.x.cols();
  for (int r = 0; r < op.y.replicas; ++r)
    for (int32_t b = 0; b < op.ragged.sequences; ++b) {
      std::copy_n(op.x.f32(r) + op.ragged.starts[b] * C, C, op.y.f32(r) + b * C);
      if (op.xq) std::copy_n(op.xq.f32(r) + op.ragged.starts[b] * C, C, op.yq.f32(r) + b * C);
    }
}

void CpuOps::select_first_grad(const SelectFirstGrad& op) {
  const int64_t C = op.dx.cols();
  if (!op.accumulate) fill(op.dx, 0.0f);
  for (int r = 0; r < op.dx.replicas; ++r)
    for (int32_t b = 0; b < op.ragged.sequences; ++b)
      add_row(op.dx.f32(r) + op.ragged.starts[b] * C, op.dy.f32(r) + b * C, C);
}

void CpuOps::add(const Tensor& from, const Tensor& to) {
  const int64_t size = to.shape.size();
  for_rows(to.replicas, size, 1 << 14,
           [&](int r, int64_t first, int64_t last) { add_row(to.f32(r) + first, from.f32(r) + first, last - first); });
}

void CpuOps::fill(const Tensor& t, float value) {
  for_rows(t.replicas, t.shape.size(), 1 << 16,
           [&](int r, int64_t first, int64_t last) { std::fill(t.f32(r) + first, t.f32(r) + last, value); });
}

void CpuOps::gather_rows(const GatherRows& op) {
  const int64_t C = op.y.cols();
  for_rows(op.y.replicas, *op.chosen.count(), 64, [&](int r, int64_t first, int64_t last) {
    for (int64_t m = first; m < last; ++m) std::copy_n(op.x.f32(r) + op.chosen.rows[m] * C, C, op.y.f32(r) + m * C);
  });
}

void CpuOps::scatter_rows(const ScatterRows& op) {
  const int64_t C = op.to.cols();
  for_rows(op.to.replicas, *op.count, 64, [&](int r, int64_t first, int64_t last) {
    for (int64_t u = first; u < last; ++u) {
      const float* from = op.from.f32(r) + u * C;
      float* to = op.to.f32(r) + op.rows[u] * C;
      op.accumulate ? add_row(to, from, C) : static_cast<void>(std::copy_n(from, C, to));
    }
  });
}

#include "kernels/isa_end.h"
