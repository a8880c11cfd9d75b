// Attention over ragged rows, one task a (replica, sequence, head). Scores live for a block of queries at a time; the
// gradient computes them again from each row's maximum and sum (Dao et al., FlashAttention, 2022, section 3.1).
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/copies.h"
#include "kernels/cpu.h"
#include "kernels/dropout.h"
#include "kernels/gemm.h"
#include "kernels/math.h"

#include "kernels/isa_begin.h"

namespace {

constexpr int64_t kQueries = 48;  // a block

// One (replica, sequence, head) of the problem.
struct Head {
  const Attention& op;
  int r, b, h;
  int64_t C = op.q.cols(), D = C / op.heads, L = op.keys.starts[b + 1] - op.keys.starts[b];
  int64_t queries = op.queries.starts[b + 1] - op.queries.starts[b];
  int64_t step = chunks(L, 16) * 16;  // row length of a block of scores
  float scale = 1.0f / std::sqrt(static_cast<float>(D));
  DropoutKey key = dropout_key(op.dropout, r);

  int64_t query_offset(int64_t i) const { return (op.queries.starts[b] + i) * C + h * D; }
  int64_t key_offset() const { return int64_t{op.keys.starts[b]} * C + h * D; }
  float* stats(int64_t i) const { return op.stats.f32(r) + ((op.queries.starts[b] + i) * op.heads + h) * 2; }
  uint32_t dropout_row() const { return static_cast<uint32_t>(b) + (static_cast<uint32_t>(h) << 20); }
};

void scores(const Head& head, int64_t i0, int64_t n, const float* packed_k, float* s) {
  gemm(n, head.L, head.D, {head.op.q.f32(head.r) + head.query_offset(i0), head.C, 1}, packed_panels(packed_k, head.D),
       {}, s, head.step);
}

void softmax_row(const Head& head, int64_t i, float* s) {
  F16 largest = set(-INFINITY);
  for_lanes(head.L, [&](int64_t j, M16 m) { largest = select(m, max(largest, load(s + j, m)), largest); });
  const float top = max_lanes(largest) * head.scale;
  F16 sum = zero();
  for_lanes(head.L, [&](int64_t j, M16 m) {
    const F16 e = exp(fma(load(s + j, m), set(head.scale), set(-top)));
    sum = select(m, sum + e, sum);
    store(s + j, e, m);
  });
  const float inverse = 1.0f / sum_lanes(sum);
  for_lanes(head.L, [&](int64_t j, M16 m) { store(s + j, load(s + j, m) * set(inverse), m); });
  apply_dropout(head.key, static_cast<uint32_t>(i), head.dropout_row(), head.L, s);
  head.stats(i)[0] = top;
  head.stats(i)[1] = inverse;
}

void head_forward(const Head& head) {
  const int64_t L = head.L, D = head.D, C = head.C, r = head.r;
  float* packed_k = thread_scratch(1, packed_size(L, D));
  float* s = thread_scratch(2, kQueries * head.step);
  pack_transposed(head.op.k.f32(r) + head.key_offset(), C, L, D, packed_k);
  for (int64_t i0 = 0; i0 < head.queries; i0 += kQueries) {
    const int64_t n = std::min(kQueries, head.queries - i0);
    scores(head, i0, n, packed_k, s);
    for (int64_t i = 0; i < n; ++i) softmax_row(head, i0 + i, s + i * head.step);
    gemm(n, D, L, {s, head.step, 1}, rows_of(head.op.v.f32(r) + head.key_offset(), C), {},
         head.op.context.f32(r) + head.query_offset(i0), C);
  }
}

// One row: s holds scores, ds holds d context v^T. Afterwards s holds the dropped probabilities, ds the gradient of the
// unscaled scores. The sum of p dp is taken from these very products, not from context and its gradient: then a row's
// gradients add up to zero but for their own roundings, on which the gradient of the keys' bias, pure cancellation,
// rests.
void softmax_row_grad(const Head& head, int64_t i, float* s, float* ds) {
  const F16 scale = set(head.scale), top = set(-head.stats(i)[0]), inverse = set(head.stats(i)[1]);
  F16 sum = zero();
  const auto multiply = [&](int64_t j, M16 m, F16 factor) __attribute__((always_inline)) {
    const F16 p = exp(fma(load(s + j, m), scale, top)) * inverse, product = p * (load(ds + j, m) * factor);
    sum = sum + product;
    store(ds + j, product, m);
    store(s + j, select(less(zero(), factor), p, zero() - p), m);  // the sign remembers what was dropped
  };
  if (head.key.on)
    for_dropout(head.key, static_cast<uint32_t>(i), head.dropout_row(), head.L, multiply);
  else
    for_lanes(head.L, [&](int64_t j, M16 m) { multiply(j, m, set(1.0f)); });
  const F16 minus_sum = set(-sum_lanes(sum)), keep = set(head.key.scale);
  for_lanes(head.L, [&](int64_t j, M16 m) {
    const F16 p = load(s + j, m);
    store(ds + j, fma(absolute(p), minus_sum, load(ds + j, m)) * scale, m);
    store(s + j, max(p, zero()) * keep, m);
  });
}

void head_backward(const Head& head, const AttentionGrad& grad) {
  const int64_t L = head.L, D = head.D, C = head.C, r = head.r, step = head.step;
  float* packed_k = thread_scratch(1, packed_size(L, D));
  float* packed_v = thread_scratch(2, packed_size(L, D));
  float* s = thread_scratch(3, kQueries * step);
  float* ds = thread_scratch(4, kQueries * step);
  const float* k = head.op.k.f32(r) + head.key_offset();
  pack_transposed(k, C, L, D, packed_k);
  pack_transposed(head.op.v.f32(r) + head.key_offset(), C, L, D, packed_v);
  float* dk = grad.dk.f32(r) + head.key_offset();
  float* dv = grad.dv.f32(r) + head.key_offset();
  for (int64_t i0 = 0; i0 < head.queries; i0 += kQueries) {
    const int64_t n = std::min(kQueries, head.queries - i0);
    const float* q = head.op.q.f32(r) + head.query_offset(i0);
    const float* dcontext = grad.dcontext.f32(r) + head.query_offset(i0);
    scores(head, i0, n, packed_k, s);
    gemm(n, L, D, {dcontext, C, 1}, packed_panels(packed_v, D), {}, ds, step);
    for (int64_t i = 0; i < n; ++i) softmax_row_grad(head, i0 + i, s + i * step, ds + i * step);
    gemm(L, D, n, {s, 1, step}, rows_of(dcontext, C), i0 ? Start{dv, C} : Start{}, dv, C);
    gemm(n, D, L, {ds, step, 1}, rows_of(k, C), {}, grad.dq.f32(r) + head.query_offset(i0), C);
    gemm(L, D, n, {ds, 1, step}, rows_of(q, C), i0 ? Start{dk, C} : Start{}, dk, C);
  }
}

// Long sequences first: the threads then finish together.
void for_heads(const Attention& op, const std::function<void(const Head&)>& body) {
  std::vector<int> order(op.keys.sequences);
  std::iota(order.begin(), order.end(), 0);
  const auto length = [&](int b) { return op.keys.starts[b + 1] - op.keys.starts[b]; };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return length(a) > length(b); });
  const int replicas = op.context.replicas;
  parallel_for(int64_t{replicas} * op.keys.sequences * op.heads, [&](int64_t task) {
    const int h = static_cast<int>(task % op.heads), r = static_cast<int>(task / op.heads % replicas);
    body(Head{op, r, order[task / op.heads / replicas], h});
  });
}

}  // namespace

void CpuOps::attention(const Attention& op) {
  for_heads(op, head_forward);
  quantize_copies(op.quantized, op.context, op.queries);
}

void CpuOps::attention_grad(const AttentionGrad& op) {
  for_heads(op.forward, [&](const Head& head) { head_backward(head, op); });
}

#include "kernels/isa_end.h"
