// Cross-entropy over a vocabulary, and its gradient in place of the logits.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu.h"
#include "kernels/math.h"

#include "kernels/isa_begin.h"

namespace {

float maximum(const float* x, int64_t n) {
  F16 top = set(x[0]);
  for_lanes(n, [&](int64_t i, M16 m) { top = max(top, select(m, load(x + i, m), top)); });
  return max_lanes(top);
}

// Sixteen sums in double, lane by lane, then the lanes in ascending order.
double exponential_sum(const float* x, int64_t n, float top) {
  D16 lanes = zero_double();
  for_lanes(n, [&](int64_t i, M16 m) { lanes = lanes + select(m, exp(load(x + i, m) - set(top)), zero()); });
  float parts[16];
  store(parts, to_float(lanes));
  double sum = 0;
  for (float part : parts) sum += part;
  return sum;
}

// The row's loss. Its logits become softmax minus the label, times `scale`.
double cross_entropy_row(const WideCrossEntropy& op, float* x, int32_t label, float scale) {
  const float top = maximum(x, op.classes);
  const double sum = exponential_sum(x, op.classes, top);
  const double loss = std::log(sum) - (static_cast<double>(x[label]) - top);
  if (!op.gradient) return loss;
  const F16 factor = set(static_cast<float>(1.0 / sum) * scale);
  for_lanes(op.classes, [&](int64_t i, M16 m) { store(x + i, exp(load(x + i, m) - set(top)) * factor, m); });
  x[label] -= scale;
  std::fill(x + op.classes, x + op.logits.cols(), 0.0f);
  return loss;
}

}  // namespace

Tensor CpuOps::wide_cross_entropy(const WideCrossEntropy& op) {
  const int64_t rows = op.ragged.starts[op.ragged.sequences], columns = op.logits.cols();
  const float scale = 1.0f / static_cast<float>(rows);
  std::vector<double> losses(static_cast<size_t>(op.loss.replicas * rows));
  for_rows(op.loss.replicas, rows, 4, [&](int r, int64_t first, int64_t last) {
    for (int64_t m = first; m < last; ++m)
      losses[static_cast<size_t>(r * rows + m)] =
          cross_entropy_row(op, op.logits.f32(r) + m * columns, op.labels[m], scale);
  });
  for (int r = 0; r < op.loss.replicas; ++r) {
    double total = 0;
    for (int64_t m = 0; m < rows; ++m) total += losses[static_cast<size_t>(r * rows + m)];
    op.loss.f32(r)[0] = rows > 0 ? static_cast<float>(total / static_cast<double>(rows)) : 0.0f;
  }
  return op.gradient ? op.logits : Tensor{};
}

#include "kernels/isa_end.h"
