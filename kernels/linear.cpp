// Linear layers: y = dropout(activation(quantize_y(x w^T + bias) + adapter)) and its gradient.
#include <algorithm>
#include <vector>

#include "kernels/adapter.h"
#include "kernels/copies.h"
#include "kernels/cpu.h"
#include "kernels/dropout.h"
#include "kernels/gemm.h"
#include "kernels/math.h"

#include "kernels/isa_begin.h"

namespace {

constexpr int64_t kRows = 96;     // of x a task: its y stays in the second-level cache
constexpr int64_t kOutputs = 24;  // of w a task in the weight gradient

void activate_rows(const Linear1& op, int r, int64_t first, int64_t last) {
  const int64_t n = op.y.cols();
  float* y = op.y.f32(r) + first * n;
  float* saved = op.saved ? op.saved.f32(r) + first * n : nullptr;
  const int64_t size = (last - first) * n;
  if (op.activation == Activation::gelu) {
    for_lanes(size, [&](int64_t i, M16 m) {
      const F16 x = load(y + i, m);
      if (saved) store(saved + i, x, m);
      store(y + i, gelu(x), m);
    });
  } else if (op.activation == Activation::tanh) {
    for_lanes(size, [&](int64_t i, M16 m) {
      const F16 t = tanh(load(y + i, m));
      if (saved) store(saved + i, t, m);
      store(y + i, t, m);
    });
  }
  const DropoutKey key = dropout_key(op.dropout, r);
  if (key.on)
    for_ragged_rows(op.ragged, first, last, [&](int b, int position, int64_t row) {
      apply_dropout(key, position, b, n, op.y.f32(r) + row * n);
    });
}

void finish(const Linear1& op, int r, int64_t first, int64_t last) {
  if (op.adapter) add_adapter(op, r, first, last);
  activate_rows(op, r, first, last);
  quantize_rows(op.quantized, op.y, r, first, last);
}

void multiply_slope(Activation activation, const float* saved, int64_t size, float* d) {
  if (activation == Activation::gelu)
    for_lanes(size, [&](int64_t i, M16 m) { store(d + i, load(d + i, m) * gelu_slope(load(saved + i, m)), m); });
  else
    for_lanes(size, [&](int64_t i, M16 m) {
      const F16 t = load(saved + i, m);
      store(d + i, load(d + i, m) * fma(zero() - t, t, set(1.0f)), m);
    });
}

// dy becomes the gradient of the product's output.
void activate_rows_grad(const Linear1Grad& op, int r, int64_t first, int64_t last) {
  const Linear1& f = op.forward;
  const int64_t n = f.y.cols();
  float* dy = op.dy.f32(r) + first * n;
  const int64_t size = (last - first) * n;
  const DropoutKey key = dropout_key(f.dropout, r);
  if (key.on)
    for_ragged_rows(f.ragged, first, last, [&](int b, int position, int64_t row) {
      apply_dropout(key, position, b, n, op.dy.f32(r) + row * n);
    });
  if (f.activation != Activation::none) multiply_slope(f.activation, f.saved.f32(r) + first * n, size, dy);
}

// dx = (accumulate ? dx : 0) + dy w, through the format of x; then the slope of the activation that made x.
void input_grad(const Linear1Grad& op, int r, int64_t first, int64_t last) {
  const int64_t n = op.forward.w.rows(), k = op.forward.w.cols(), size = (last - first) * k;
  const AView dy{op.dy.f32(r) + first * n, n, 1};
  const BView w = rows_of(op.forward.w.f32(r), k);
  float* dx = op.dx.f32(r) + first * k;
  if (masks_gradient(op.input_format, r)) {
    float* masked = op.accumulate ? thread_scratch(1, size) : dx;
    gemm(last - first, k, n, dy, w, {}, op.input_format.dxq.f32(r) + first * k, k);
    quantize_rows_grad(op.input_format, r, first, last, masked);
    if (op.accumulate)
      for_lanes(size, [&](int64_t i, M16 m) { store(dx + i, load(dx + i, m) + load(masked + i, m), m); });
  } else if (op.accumulate) {
    gemm_add(last - first, k, n, dy, w, dx, k);
  } else {
    gemm(last - first, k, n, dy, w, {}, dx, k);
  }
  if (op.input_activation != Activation::none)
    multiply_slope(op.input_activation, op.input_saved.f32(r) + first * k, size, dx);
}

// dw[n0 ... n1) and dbias of those outputs: sums over the rows in ascending order, dw sequence by sequence (a chain
// over all rows would lose digits). Rows of zero gradient change no bit: a CLS-only layer leaves them out.
void weight_grad(const Linear1Grad& op, int r, int64_t n0, int64_t n1) {
  const Linear1& f = op.forward;
  const int64_t n = f.y.cols(), k = f.x.cols(), rows = f.x.rows();
  const float* dy = op.dy.f32(r) + n0;
  for (int32_t b = 0; op.dw && b < f.ragged.sequences; ++b) {
    const int64_t first = f.ragged.starts[b], count = f.ragged.starts[b + 1] - first;
    const AView dy_of_sequence{dy + first * n, 1, n};
    const BView x_of_sequence = rows_of(f.x.f32(r) + first * k, k);
    float* dw = op.dw.f32(r) + n0 * k;
    if (b == 0)
      gemm(n1 - n0, k, count, dy_of_sequence, x_of_sequence, {}, dw, k);
    else
      gemm_add(n1 - n0, k, count, dy_of_sequence, x_of_sequence, dw, k);
  }
  if (!op.dbias) return;
  for_lanes(n1 - n0, [&](int64_t i, M16 m) {
    D16 sum = zero_double();
    for (int64_t row = 0; row < rows; ++row) sum = sum + load(dy + row * n + i, m);
    store(op.dbias.f32(r) + n0 + i, to_float(sum), m);
  });
}

}  // namespace

void CpuOps::linear(std::span<const Linear1> ops) {
  const int replicas = ops[0].y.replicas;
  std::vector<int64_t> at;  // where each problem's packed weights start
  int64_t size = 0;
  for (const Linear1& op : ops) at.push_back(size), size += packed_size(op.w.rows(), op.w.cols()) * replicas;
  float* packed = thread_scratch(0, size);
  parallel_for(static_cast<int64_t>(ops.size()) * replicas, [&](int64_t task) {
    const Linear1& op = ops[task / replicas];
    const int r = static_cast<int>(task % replicas);
    const int64_t n = op.w.rows(), k = op.w.cols();
    pack_transposed(op.w.f32(r), k, n, k, packed + at[task / replicas] + r * packed_size(n, k));
  });
  for (size_t p = 0; p < ops.size(); ++p) {
    const Linear1& op = ops[p];
    const int64_t n = op.w.rows(), k = op.w.cols();
    for_rows(replicas, op.x.rows(), kRows, [&](int r, int64_t first, int64_t last) {
      const float* w = packed + at[p] + r * packed_size(n, k);
      gemm(last - first, n, k, {op.x.f32(r) + first * k, k, 1}, packed_panels(w, k),
           {op.bias ? op.bias.f32(r) : nullptr, 0}, op.y.f32(r) + first * n, n);
      if (!op.y_format)
        finish(op, r, first, last);
      else
        quantize_rows(op.y_format, op.y_rank, op.y, op.y, r, first, last);
    });
    if (op.y_format) {
      quantize_sequences(op.y_format, op.y_rank, op.y, op.y, op.ragged);
      for_rows(replicas, op.x.rows(), kRows, [&](int r, int64_t first, int64_t last) { finish(op, r, first, last); });
    }
    quantize_sequences(op.quantized, op.y, op.ragged);
  }
}

void CpuOps::linear_grad(std::span<const Linear1Grad> ops) {
  const int replicas = ops[0].dy.replicas;
  const int64_t rows = ops[0].forward.x.rows();
  for_rows(replicas, rows, kRows, [&](int r, int64_t first, int64_t last) {
    for (const Linear1Grad& op : ops) {
      activate_rows_grad(op, r, first, last);
      if (op.dx) input_grad(op, r, first, last);
      if (op.forward.adapter) adapter_input_grad(op, r, first, last);
    }
  });
  std::vector<int64_t> blocks;  // tasks of each problem, summed up
  int64_t total = 0;
  for (const Linear1Grad& op : ops) blocks.push_back(total), total += chunks(op.forward.w.rows(), kOutputs) * replicas;
  parallel_for(total, [&](int64_t task) {
    const size_t p = std::upper_bound(blocks.begin(), blocks.end(), task) - blocks.begin() - 1;
    const int64_t n = ops[p].forward.w.rows(), per_replica = chunks(n, kOutputs), local = task - blocks[p];
    const int64_t n0 = local % per_replica * kOutputs;
    weight_grad(ops[p], static_cast<int>(local / per_replica), n0, std::min(n, n0 + kOutputs));
  });
  parallel_for(static_cast<int64_t>(ops.size()) * replicas, [&](int64_t task) {
    const Linear1Grad& op = ops[task / replicas];
    if (op.dadapter) adapter_weight_grad(op, static_cast<int>(task % replicas));
  });
}

// Rows come from x, and then are finished like those of a product.
void CpuOps::activate(const Linear1& op) {
  const int64_t n = op.y.cols();
  for_rows(op.y.replicas, op.y.rows(), kRows, [&](int r, int64_t first, int64_t last) {
    std::copy(op.x.f32(r) + first * n, op.x.f32(r) + last * n, op.y.f32(r) + first * n);
    finish(op, r, first, last);
  });
  quantize_sequences(op.quantized, op.y, op.ragged);
}

void CpuOps::activate_grad(const Linear1Grad& op) {
  for_rows(op.dy.replicas, op.dy.rows(), kRows,
           [&](int r, int64_t first, int64_t last) { activate_rows_grad(op, r, first, last); });
}

#include "kernels/isa_end.h"
