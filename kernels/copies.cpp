#include "kernels/copies.h"

#include <cmath>

#include "kernels/quantize.h"
#include "quant/spec.h"

#include "kernels/isa_begin.h"

namespace {

const QuantSpec& spec_of(const QuantSlot& slot, int replica) { return slot.specs[replica * slot.stride]; }
const float* trained_of(const QuantSlot& slot, int replica) {
  return slot.trained ? slot.trained.f32(replica) : nullptr;
}
bool within_row(const QuantSpec& spec) { return reach(spec, Role::activation) != Reach::sequence; }

void quantize_block(const QuantSlot& slot, int rank, int replica, const float* x, float* xq, int64_t rows,
                    int64_t cols) {
  const QuantShape shape = rank == 3 ? QuantShape{3, {1, rows, cols}} : QuantShape{2, {rows, cols, 1}};
  quantize(spec_of(slot, replica), Role::activation, shape, x, xq, trained_of(slot, replica));
}

}  // namespace

void quantize_rows(const QuantSlot& slot, int rank, const Tensor& from, const Tensor& to, int r, int64_t first,
                   int64_t last) {
  if (!within_row(spec_of(slot, r))) return;
  const int64_t cols = from.cols();
  quantize_block(slot, rank, r, from.f32(r) + first * cols, to.f32(r) + first * cols, last - first, cols);
}

void quantize_sequences(const QuantSlot& slot, int rank, const Tensor& from, const Tensor& to, const Ragged& ragged) {
  const int64_t cols = from.cols();
  parallel_for(int64_t{to.replicas} * ragged.sequences, [&](int64_t task) {
    const int r = static_cast<int>(task / ragged.sequences), b = static_cast<int>(task % ragged.sequences);
    if (within_row(spec_of(slot, r))) return;
    const int64_t first = ragged.starts[b], last = ragged.starts[b + 1], step = rank == 3 ? last - first : 1;
    for (int64_t row = first; row < last; row += step)
      quantize_block(slot, rank, r, from.f32(r) + row * cols, to.f32(r) + row * cols, step, cols);
  });
}

namespace {
bool any_over_sequences(const QuantSlot& slot, int replicas) {
  for (int r = 0; r < replicas; ++r)
    if (!within_row(spec_of(slot, r))) return true;
  return false;
}
}  // namespace

void quantize_rows(const QuantizedCopies& copies, const Tensor& x, int r, int64_t first, int64_t last) {
  for (const QuantizedCopy& c : copies) quantize_rows(c.slot, copies.features_rank, x, c.xq, r, first, last);
}

void quantize_sequences(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged) {
  for (const QuantizedCopy& c : copies)
    if (any_over_sequences(c.slot, c.xq.replicas)) quantize_sequences(c.slot, copies.features_rank, x, c.xq, ragged);
}

void CpuOps::quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged) {
  if (copies.count == 0) return;
  for_rows(copies.copy[0].xq.replicas, x.rows(), 64,
           [&](int r, int64_t first, int64_t last) { quantize_rows(copies, x, r, first, last); });
  quantize_sequences(copies, x, ragged);
}

void CpuOps::quantize_grad(const QuantizeGrad& op) {
  // Sequence by sequence, one task a replica: dtrained is a sum over all of them in ascending order.
  parallel_for(op.dx.replicas, [&](int64_t r64) {
    const int r = static_cast<int>(r64);
    const QuantSpec& spec = spec_of(op.slot, r);
    if (gradient_is_identity(spec)) return;
    const int64_t cols = op.x.cols();
    for (int32_t b = 0; b < op.ragged.sequences; ++b) {
      const int64_t first = op.ragged.starts[b], rows = op.ragged.starts[b + 1] - first;
      const QuantShape shape = op.rank == 3 ? QuantShape{3, {1, rows, cols}} : QuantShape{2, {rows, cols, 1}};
      float* dx = op.dx.f32(r) + first * cols;
      mpq::MPQ_ISA::quantize_grad(spec, Role::activation, shape, op.x.f32(r) + first * cols, dx, dx,
                                  trained_of(op.slot, r), op.dtrained ? op.dtrained.f32(r) : nullptr);
    }
  });
}

static bool times_gamma(const QuantizeWeights::Item& item, int r) {
  return item.input && trained_count(spec_of(item.input, r)) > 0;
}

void CpuOps::quantize_weights(const QuantizeWeights& op) {
  const int replicas = op.items.empty() ? 1 : op.items[0].wq.replicas;
  parallel_for(static_cast<int64_t>(op.items.size()) * replicas, [&](int64_t task) {
    const QuantizeWeights::Item& item = op.items[task / replicas];
    const int r = static_cast<int>(task % replicas);
    const Shape& s = item.w.shape;
    const QuantShape shape = s.rank == 1 ? QuantShape{1, {s[0], 1, 1}} : QuantShape{2, {s[0], s[1], 1}};
    quantize(spec_of(item.slot, r), item.role, shape, item.w.f32(r), item.wq.f32(r), nullptr);
    if (!times_gamma(item, r)) return;
    const float gamma = std::abs(item.input.trained.f32(r)[3]);
    float* wq = item.wq.f32(r);
    for (int64_t i = 0; i < s.size(); ++i) wq[i] *= gamma;
  });
}

// wq = w' |gamma|, w' the quantized w: dw = dwq |gamma|, dgamma = sgn(gamma) sum of dwq w' (MASE's
// LinearBinaryResidualSign).
void CpuOps::quantize_weights_grad(const QuantizeWeights& op) {
  const int replicas = op.items.empty() ? 1 : op.items[0].dw.replicas;
  parallel_for(static_cast<int64_t>(op.items.size()) * replicas, [&](int64_t task) {
    const QuantizeWeights::Item& item = op.items[task / replicas];
    const int r = static_cast<int>(task % replicas);
    if (!times_gamma(item, r)) return;
    const float gamma = item.input.trained.f32(r)[3];
    float* dw = item.dw.f32(r);
    const float* wq = item.wq.f32(r);
    double sum = 0;
    for (int64_t i = 0; i < item.w.shape.size(); ++i) {
      sum += static_cast<double>(dw[i]) * wq[i];
      dw[i] *= std::abs(gamma);
    }
    if (gamma != 0) item.dtrained.f32(r)[3] += static_cast<float>(sum / gamma);
  });
}

#include "kernels/isa_end.h"
