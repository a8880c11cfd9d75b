// Pruned inputs of Linears and their gradient (tensor/ops.h); masks of weights.
#include <algorithm>

#include "kernels/cpu.h"
#include "kernels/dropout.h"
#include "kernels/simd.h"
#include "quant/prune_spec.h"
#include "quant/quantile.h"

#include "kernels/isa_begin.h"

namespace {

constexpr int64_t kRows = 32;  // a task

const PruneSpec& spec_of(const Prune& op, int r) { return op.slot.specs[r * op.slot.stride]; }

MPQ_INLINE I16 orders(F16 x) { return bits(x) & seti(0x7fffffff); }

int64_t count_below(const float* x, int64_t n, uint32_t limit) {
  const I16 top = seti(static_cast<int32_t>(limit));
  F16 count = zero();
  for_lanes(n, [&](int64_t i, M16 m) {
    const F16 one = select(less(orders(load(x + i, m)), top), set(1), zero());
    count = count + select(m, one, zero());
  });
  return static_cast<int64_t>(sum_lanes(count));
}

uint32_t least_from(const float* x, int64_t n, uint32_t limit) {
  uint32_t least = UINT32_MAX;
  for (int64_t i = 0; i < n; ++i)
    if (const uint32_t order = order_of(x[i]); order >= limit) least = std::min(least, order);
  return least;
}

float batch_threshold_of(const PruneSpec& spec, const float* x, int64_t rows, int64_t n) {
  const auto below = [&](uint32_t limit) {
    int64_t count = 0;
    for (int64_t row = 0; row < rows; ++row) count += count_below(x + row * n, n, limit);
    return count;
  };
  return quantile(spec.sparsity, rows * n, below, [&](uint32_t limit) { return least_from(x, rows * n, limit); });
}

void find_batch_thresholds(std::span<const Prune> ops) {
  if (!ops[0].batch_threshold) return;
  const int replicas = ops[0].pruned.replicas;
  parallel_for(static_cast<int64_t>(ops.size()) * replicas, [&](int64_t task) {
    const Prune& op = ops[task / replicas];
    const int r = static_cast<int>(task % replicas);
    if (spec_of(op, r).over_batch())
      op.batch_threshold.f32(r)[0] = batch_threshold_of(spec_of(op, r), op.x.f32(r), op.x.rows(), op.x.cols());
  });
}

float threshold_of(const PruneSpec& spec, const float* x, int64_t n) {
  if (spec.method != PruneMethod::l1 || spec.sparsity == 0) return keep_all;
  return quantile(
      spec.sparsity, n, [&](uint32_t limit) { return count_below(x, n, limit); },
      [&](uint32_t limit) { return least_from(x, n, limit); });
}

// The threshold is the one of the op before where that prunes alike.
void find_thresholds(std::span<const Prune> ops, int r, int64_t first, int64_t last) {
  for (size_t p = 0; p < ops.size(); ++p) {
    const Prune& op = ops[p];
    float* threshold = op.threshold.f32(r);
    const int64_t n = op.x.cols();
    if (spec_of(op, r).over_batch())
      std::fill(threshold + first, threshold + last, op.batch_threshold.f32(r)[0]);
    else if (p > 0 && spec_of(op, r) == spec_of(ops[p - 1], r))
      std::copy(ops[p - 1].threshold.f32(r) + first, ops[p - 1].threshold.f32(r) + last, threshold + first);
    else
      for (int64_t row = first; row < last; ++row)
        threshold[row] = threshold_of(spec_of(op, r), op.x.f32(r) + row * n, n);
  }
}

DropoutKey draw_key(const Prune& op, int r) {
  if (spec_of(op, r).method != PruneMethod::random) return {};
  Dropout draw = op.draw;
  draw.p = spec_of(op, r).sparsity;
  DropoutKey key = dropout_key(draw, r);
  key.scale = 1;
  if (op.numbers) key.first = 0;
  return key;
}

// to[i] = what is kept of from[i], or that added to it.
void keep_row(const Prune& op, const DropoutKey& key, int r, int32_t b, int32_t position, int64_t row,
              const float* from, float* to, bool add) {
  const int64_t n = op.x.cols();
  const float* x = op.x.f32(r) + row * n;
  const I16 limit = seti(static_cast<int32_t>(to_bits(op.threshold.f32(r)[row])));
  const auto keep = [&](int64_t i, M16 m, F16 drawn) {
    F16 kept = select(less(limit, orders(load(x + i, m))), load(from + i, m), zero());
    kept = select(less(zero(), drawn), kept, zero());
    store(to + i, add ? load(to + i, m) + kept : kept, m);
  };
  if (key.on)
    for_dropout(key, static_cast<uint32_t>(position), static_cast<uint32_t>(op.numbers ? op.numbers[b] : b), n, keep);
  else
    for_lanes(n, [&](int64_t i, M16 m) { keep(i, m, set(1)); });
}

}  // namespace

void CpuOps::prune(std::span<const Prune> ops) {
  find_batch_thresholds(ops);
  for_rows(ops[0].pruned.replicas, ops[0].x.rows(), kRows, [&](int r, int64_t first, int64_t last) {
    find_thresholds(ops, r, first, last);
    for (const Prune& op : ops) {
      const DropoutKey key = draw_key(op, r);
      const int64_t n = op.x.cols();
      for_ragged_rows(op.ragged, first, last, [&](int32_t b, int32_t position, int64_t row) {
        keep_row(op, key, r, b, position, row, op.x.f32(r) + row * n, op.pruned.f32(r) + row * n, false);
      });
    }
  });
}

void CpuOps::prune_grad(std::span<const PruneGrad> ops) {
  for_rows(ops[0].dx.replicas, ops[0].dx.rows(), kRows, [&](int r, int64_t first, int64_t last) {
    for (const PruneGrad& op : ops) {
      const DropoutKey key = draw_key(op.forward, r);
      const int64_t n = op.dx.cols();
      for_ragged_rows(op.forward.ragged, first, last, [&](int32_t b, int32_t position, int64_t row) {
        keep_row(op.forward, key, r, b, position, row, op.dpruned.f32(r) + row * n, op.dx.f32(r) + row * n,
                 op.accumulate);
      });
    }
  });
}

void CpuOps::apply_mask(const Tensor& mask, const Tensor& to) {
  for_rows(to.replicas, to.shape.size(), 1 << 14, [&](int r, int64_t first, int64_t last) {
    const float* keep = mask.f32(r) + first;
    float* values = to.f32(r) + first;
    for_lanes(last - first, [&](int64_t i, M16 m) {
      store(values + i, select(less(zero(), load(keep + i, m)), load(values + i, m), zero()), m);
    });
  });
}

#include "kernels/isa_end.h"
