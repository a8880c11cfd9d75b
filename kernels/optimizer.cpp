// Cross-entropy, the clipped norm, and AdamW: dense, and by rows that few steps touch.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu.h"
#include "kernels/simd.h"

#include "kernels/isa_begin.h"

namespace {

constexpr int64_t kChunk = 4096;

float square_sum(const float* g, int64_t n) {
  F16 sum = zero();
  for_lanes(n, [&](int64_t i, M16 m) {
    const F16 x = load(g + i, m);
    sum = fma(x, x, sum);
  });
  return sum_lanes(sum);
}

// Sums of squares of chunks, added in double in ascending order.
double square_sum(const float* g, int64_t begin, int64_t end) {
  double sum = 0;
  for (int64_t at = begin; at < end; at += kChunk) sum += square_sum(g + at, std::min(kChunk, end - at));
  return sum;
}

struct Coefficients {
  F16 rate, inverse_root, keep, beta1, beta2, one_minus_beta1, one_minus_beta2, epsilon;
};
Coefficients coefficients(const AdamWTable& t, int r, int64_t step, bool decay) {
  const int64_t at = r * t.steps + step;
  return {set(t.rate[at]),
          set(t.inverse_root[at]),
          set(decay ? t.keep[at] : 1.0f),
          set(t.beta1),
          set(t.beta2),
          set(1.0f - t.beta1),
          set(1.0f - t.beta2),
          set(t.epsilon)};
}

MPQ_INLINE void update(const Coefficients& c, F16 g, F16& p, F16& m, F16& v) {
  m = fma(c.one_minus_beta1, g, c.beta1 * m);
  v = fma(c.one_minus_beta2 * g, g, c.beta2 * v);
  p = p * c.keep - c.rate * (m / fma(sqrt(v), c.inverse_root, c.epsilon));
}

}  // namespace

void CpuOps::cross_entropy(const CrossEntropy& op) {
  const int64_t B = op.logits.rows(), n = op.logits.cols();
  const auto divisor = static_cast<double>(op.divisor());
  for (int r = 0; r < op.loss.replicas; ++r) {
    double total = 0;
    for (int64_t b = 0; b < B; ++b) {
      const float* x = op.logits.f32(r) + b * n;
      const float top = *std::max_element(x, x + n);
      double sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += std::exp(static_cast<double>(x[i]) - top);
      for (int64_t i = 0; i < n; ++i) {
        const double target = op.target(b, i, n), x_i = static_cast<double>(x[i]) - top;
        if (target > 0) total += target * (std::log(sum) - x_i);
        if (op.dlogits) op.dlogits.f32(r)[b * n + i] = static_cast<float>((std::exp(x_i) / sum - target) / divisor);
      }
    }
    op.loss.f32(r)[0] = static_cast<float>(total / divisor);
  }
}

void CpuOps::clip_norm(const ClipNorm& op) {
  const int replicas = op.norm.replicas;
  const int64_t tasks = static_cast<int64_t>(op.ranges.size()) + 1;
  std::vector<double> sums(replicas * tasks, 0.0);
  parallel_for(replicas * tasks, [&](int64_t task) {
    const int r = static_cast<int>(task / tasks);
    const int64_t i = task % tasks;
    if (i + 1 < tasks)
      sums[task] = square_sum(op.flat.f32(r), op.ranges[i].begin, op.ranges[i].end);
    else if (op.rows)
      for (int32_t u = 0; u < *op.row_count; ++u)
        sums[task] += square_sum(op.rows.f32(r) + int64_t{u} * op.rows.cols(), op.rows.cols());
  });
  for (int r = 0; r < replicas; ++r) {
    double total = 0;
    for (int64_t i = 0; i < tasks; ++i) total += sums[r * tasks + i];
    const float norm = static_cast<float>(std::sqrt(total));
    op.norm.f32(r)[0] = norm;
    op.scale.f32(r)[0] = op.limit > 0 ? std::min(1.0f, op.limit / (norm + 1e-6f)) : 1.0f;
  }
}

void CpuOps::adamw(const AdamW& op) {
  for (const ParameterRange& range : op.ranges)
    for_rows(op.p.replicas, range.end - range.begin, 1 << 14, [&](int r, int64_t first, int64_t last) {
      const Coefficients c = coefficients(op.table, r, *op.step, range.decay);
      const F16 scale = set(op.scale.f32(r)[0]);
      const int64_t at = range.begin + first;
      float *p = op.p.f32(r) + at, *g = op.g.f32(r) + at, *m = op.m.f32(r) + at, *v = op.v.f32(r) + at;
      for_lanes(last - first, [&](int64_t i, M16 mask) {
        F16 pi = load(p + i, mask), mi = load(m + i, mask), vi = load(v + i, mask);
        update(c, load(g + i, mask) * scale, pi, mi, vi);
        store(p + i, pi, mask), store(m + i, mi, mask), store(v + i, vi, mask);
      });
    });
}

void CpuOps::adamw_rows(const AdamWRows& op) {
  const int64_t C = op.p.cols(), now = *op.step;
  for_rows(op.p.replicas, *op.count, 16, [&](int r, int64_t first, int64_t last) {
    int32_t* done = op.last + r * op.p.rows();
    for (int64_t u = first; u < last; ++u) {
      const int64_t row = op.rows[u], from = done[row];
      float *p = op.p.f32(r) + row * C, *m = op.m.f32(r) + row * C, *v = op.v.f32(r) + row * C;
      const float* g = op.g ? op.g.f32(r) + u * C : nullptr;
      const F16 scale = set(op.scale ? op.scale.f32(r)[0] : 1.0f);
      for_lanes(C, [&](int64_t i, M16 mask) {
        F16 pi = load(p + i, mask), mi = load(m + i, mask), vi = load(v + i, mask);
        for (int64_t t = from; t < now; ++t) update(coefficients(op.table, r, t, op.decay), zero(), pi, mi, vi);
        if (g) update(coefficients(op.table, r, now, op.decay), load(g + i, mask) * scale, pi, mi, vi);
        store(p + i, pi, mask), store(m + i, mi, mask), store(v + i, vi, mask);
      });
      done[row] = static_cast<int32_t>(op.g ? now + 1 : now);
    }
  });
}

#include "kernels/isa_end.h"
