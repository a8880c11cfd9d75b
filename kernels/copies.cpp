#include "kernels/copies.h"

#include <algorithm>
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

// That a minimum over all rows of a sequence is to fill.
bool has_zero_tile(const QuantSpec& spec, const float* x, int64_t cols) {
  const int64_t width = filled_tile_width(spec, cols);
  for (int64_t c = 0; width > 0 && c < cols; c += width)
    if (std::all_of(x + c, x + std::min(c + width, cols), [](float v) { return v == 0.0f; })) return true;
  return false;
}

// Of sequences whose whole copy is there.
void quantize_first_rows(const QuantizedCopy& copy, int rank, const Tensor& x, int r, int64_t first, int64_t last) {
  const QuantSpec& spec = spec_of(copy.slot, r);
  const int64_t cols = copy.xq.cols();
  for (int64_t b = first; b < last; ++b) {
    const float* from = x.f32(r) + b * cols;
    float* to = copy.xq.f32(r) + b * cols;
    if (tile_reach(spec) == Reach::sequence || has_zero_tile(spec, from, cols))
      std::copy_n(copy.whole.xq.f32(r) + copy.whole.starts[b] * cols, cols, to);
    else
      quantize_block(copy.slot, rank, r, from, to, 1, cols);
  }
}
}  // namespace

void quantize_rows(const QuantizedCopies& copies, const Tensor& x, int r, int64_t first, int64_t last) {
  for (const QuantizedCopy& c : copies)
    if (c.whole && !within_row(spec_of(c.slot, r)))
      quantize_first_rows(c, copies.features_rank, x, r, first, last);
    else
      quantize_rows(c.slot, copies.features_rank, x, c.xq, r, first, last);
}

void quantize_sequences(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged) {
  for (const QuantizedCopy& c : copies)
    if (!c.whole && any_over_sequences(c.slot, c.xq.replicas))
      quantize_sequences(c.slot, copies.features_rank, x, c.xq, ragged);
}

void CpuOps::quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged) {
  if (copies.count == 0) return;
  for_rows(copies.copy[0].xq.replicas, x.rows(), 64,
           [&](int r, int64_t first, int64_t last) { quantize_rows(copies, x, r, first, last); });
  quantize_sequences(copies, x, ragged);
}

bool CpuOps::need_whole(const NeedWhole& op) {
  const int32_t B = op.whole.sequences;
  bool needed = false;
  for (int i = 0; i < op.count; ++i)
    for (int r = 0; r < op.rows[i].x.replicas; ++r)
      for (int64_t b = 0; b < B && !needed; ++b) {
        const auto& [slot, x] = op.rows[i];
        needed = has_zero_tile(spec_of(slot, r), x.f32(r) + b * x.cols(), x.cols());
      }
  for (int32_t b = 0; b <= B; ++b) op.starts[b] = needed ? op.whole.starts[b] : 0, op.ones[b] = needed ? b : 0;
  return needed;
}

void quantize_rows_grad(const InputFormat& format, int r, int64_t first, int64_t last, float* dx) {
  const int64_t cols = format.values.cols(), at = first * cols;
  mpq::MPQ_ISA::quantize_grad(spec_of(format.slot, r), Role::activation, {2, {last - first, cols, 1}},
                              format.values.f32(r) + at, format.dxq.f32(r) + at, dx, trained_of(format.slot, r),
                              nullptr);
}

bool masks_gradient(const InputFormat& format, int r) {
  return format && !gradient_is_identity(spec_of(format.slot, r));
}

// A sum over all sequences in ascending order.
static void trained_grad(const QuantizeGrad::Item& item, int r) {
  const InputFormat& f = item.format;
  if (!masks_gradient(f, r)) return;
  const QuantSpec& spec = spec_of(f.slot, r);
  const int64_t cols = f.values.cols();
  float* dtrained = item.dtrained.f32(r);
  std::fill_n(dtrained, trained_count(spec), 0.0f);
  for (int32_t b = 0; b < item.ragged.sequences; ++b) {
    const int64_t first = item.ragged.starts[b], rows = item.ragged.starts[b + 1] - first;
    mpq::MPQ_ISA::quantize_grad(spec, Role::activation, {2, {rows, cols, 1}}, f.values.f32(r) + first * cols,
                                f.dxq.f32(r) + first * cols, nullptr, trained_of(f.slot, r), dtrained);
  }
}

void CpuOps::quantize_grad(const QuantizeGrad& op) {
  if (op.items.empty()) return;
  const int replicas = op.items[0].dtrained.replicas;
  parallel_for(static_cast<int64_t>(op.items.size()) * replicas,
               [&](int64_t task) { trained_grad(op.items[task / replicas], static_cast<int>(task % replicas)); });
}

static bool times_gamma(const QuantizeWeights::Item& item, int r) {
  return item.input && trained_count(spec_of(item.input, r)) > 0;
}

static void quantize_only(const QuantizeWeights::Item& item, int r) {
  const int64_t cols = item.w.cols();
  for (int32_t u = 0; u < *item.only.count; ++u) {
    const int64_t at = item.only.rows[u] * cols;
    quantize(spec_of(item.slot, r), item.role, {2, {1, cols, 1}}, item.w.f32(r) + at, item.wq.f32(r) + at, nullptr);
  }
}

void CpuOps::quantize_weights(const QuantizeWeights& op) {
  const int replicas = op.items.empty() ? 1 : op.items[0].wq.replicas;
  parallel_for(static_cast<int64_t>(op.items.size()) * replicas, [&](int64_t task) {
    const QuantizeWeights::Item& item = op.items[task / replicas];
    const int r = static_cast<int>(task % replicas);
    if (item.only.rows) return quantize_only(item, r);
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
    item.dtrained.f32(r)[3] = gamma != 0 ? static_cast<float>(sum / gamma) : 0.0f;
  });
}

#include "kernels/isa_end.h"
