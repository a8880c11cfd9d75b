#include "kernels/adapter.h"

#include <algorithm>

#include "kernels/cpu.h"
#include "kernels/dropout.h"
#include "kernels/gemm.h"

#include "kernels/isa_begin.h"

namespace {

// One replica's matrices: a [rank, K], b [rank, N].
struct Matrices {
  int64_t rank, K, N;
  float scale;
  const float *a, *b;
};
Matrices matrices_of(const Linear1& op, int r) {
  const Adapter& adapter = op.adapter;
  const AdapterRank of = adapter.ranks[r];
  const int64_t K = adapter.x.cols();
  const float* a = adapter.values.f32(r) + of.rank * adapter.begin;
  return {of.rank, K, op.y.cols(), of.scale, a, a + of.rank * K};
}

// low = scale * from p^T, p [rank, width]; both ways an adapter begins so.
void project(int64_t rows, int64_t rank, int64_t width, const float* from, const float* p, float scale, float* low,
             int64_t low_step) {
  float* packed = thread_scratch(2, packed_size(rank, width));
  pack_transposed(p, width, rank, width, packed);
  gemm(rows, rank, width, {from, width, 1}, packed_panels(packed, width), {}, low, low_step);
  for (int64_t row = 0; row < rows; ++row)
    for_lanes(rank, [&](int64_t j, M16 m) {
      float* at = low + row * low_step + j;
      store(at, load(at, m) * set(scale), m);
    });
}

void drop_input(const Adapter& adapter, const Ragged& ragged, int r, int64_t first, int64_t last) {
  const DropoutKey key = dropout_key(adapter.dropout, r);
  const int64_t K = adapter.x.cols();
  if (!key.on) return;
  for_ragged_rows(ragged, first, last, [&](int b, int position, int64_t row) {
    float* to = adapter.dropped.f32(r) + row * K;
    std::copy_n(adapter.x.f32(r) + row * K, K, to);
    apply_dropout(key, position, b, K, to);
  });
}

// to = low^T from, of all rows: [rank, width].
void sum_products(const Ragged& ragged, int64_t rank, int64_t width, const float* low, int64_t low_step,
                  const float* from, float* to) {
  for (int32_t b = 0; b < ragged.sequences; ++b) {
    const int64_t first = ragged.starts[b], count = ragged.starts[b + 1] - first;
    const AView low_of_sequence{low + first * low_step, 1, low_step};
    const BView from_of_sequence = rows_of(from + first * width, width);
    if (b == 0)
      gemm(rank, width, count, low_of_sequence, from_of_sequence, {}, to, width);
    else
      gemm_add(rank, width, count, low_of_sequence, from_of_sequence, to, width);
  }
}

}  // namespace

void add_adapter(const Linear1& op, int r, int64_t first, int64_t last) {
  const Adapter& adapter = op.adapter;
  const Matrices m = matrices_of(op, r);
  const int64_t rows = last - first, step = adapter.low.cols();
  float* low = adapter.low.f32(r) + first * step;
  drop_input(adapter, op.ragged, r, first, last);
  project(rows, m.rank, m.K, adapter.dropped.f32(r) + first * m.K, m.a, m.scale, low, step);
  gemm_add(rows, m.N, m.rank, {low, step, 1}, rows_of(m.b, m.N), op.y.f32(r) + first * m.N, m.N);
}

void adapter_input_grad(const Linear1Grad& op, int r, int64_t first, int64_t last) {
  const Adapter& adapter = op.forward.adapter;
  const Matrices m = matrices_of(op.forward, r);
  const int64_t rows = last - first, step = op.dlow.cols();
  float* dlow = op.dlow.f32(r) + first * step;
  project(rows, m.rank, m.N, op.dy.f32(r) + first * m.N, m.b, m.scale, dlow, step);
  if (!op.dx) return;
  float* part = thread_scratch(3, rows * m.K);
  gemm(rows, m.K, m.rank, {dlow, step, 1}, rows_of(m.a, m.K), {}, part, m.K);
  const DropoutKey key = dropout_key(adapter.dropout, r);
  if (key.on)
    for_ragged_rows(op.forward.ragged, first, last, [&](int b, int position, int64_t row) {
      apply_dropout(key, position, b, m.K, part + (row - first) * m.K);
    });
  float* dx = op.dx.f32(r) + first * m.K;
  for_lanes(rows * m.K,
            [&](int64_t i, M16 lanes) { store(dx + i, load(dx + i, lanes) + load(part + i, lanes), lanes); });
}

void adapter_weight_grad(const Linear1Grad& op, int r) {
  const Adapter& adapter = op.forward.adapter;
  const Matrices m = matrices_of(op.forward, r);
  const Ragged& ragged = op.forward.ragged;
  float* da = op.dadapter.f32(r) + m.rank * adapter.begin;
  sum_products(ragged, m.rank, m.K, op.dlow.f32(r), op.dlow.cols(), adapter.dropped.f32(r), da);
  sum_products(ragged, m.rank, m.N, adapter.low.f32(r), adapter.low.cols(), op.dy.f32(r), da + m.rank * m.K);
}

#include "kernels/isa_end.h"
