// Batches from a data set in the device's memory, and the end of a step.
#include <algorithm>

#include "kernels/cpu.h"
#include "tensor/segments.h"

#include "kernels/isa_begin.h"

namespace {

void gather(const StepRows& rows, int64_t step, const BatchSlots& to) {
  const int32_t *first = rows.order + rows.first[step], *last = rows.order + rows.first[step + 1];
  int32_t place = 0;
  for (const int32_t* row = first; row < last; ++row) {
    const int64_t b = row - first, begin = rows.starts[*row], end = rows.starts[*row + 1];
    to.starts[b] = place;
    to.labels[b] = rows.labels[*row];
    to.rows[b] = *row;
    std::copy(rows.tokens + begin, rows.tokens + end, to.tokens + place);
    place += static_cast<int32_t>(end - begin);
  }
  to.starts[last - first] = place;
}

// Behind gather, which finds where rows start.
void gather_masked(const StepRows& rows, int64_t step, const BatchSlots& to) {
  const int32_t *first = rows.order + rows.first[step], *last = rows.order + rows.first[step + 1];
  int32_t place = 0;
  for (const int32_t* row = first; row < last; ++row) {
    to.masked_starts[row - first] = place;
    for (int64_t i = rows.masked_starts[*row]; i < rows.masked_starts[*row + 1]; ++i, ++place) {
      to.masked_rows[place] = to.starts[row - first] + rows.masked_positions[i];
      to.masked_tokens[place] = rows.masked_tokens[i];
    }
  }
  to.masked_starts[last - first] = place;
}

}  // namespace

void CpuOps::prepare_batches(const PrepareBatches& op) {
  parallel_for(op.count, [&](int64_t i) {
    const BatchSlots to = op.slots.at(i);
    const int64_t step = op.first_step + i, sequences = op.rows.first[step + 1] - op.rows.first[step];
    gather(op.rows, step, to);
    if (to.masked_rows) gather_masked(op.rows, step, to);
    if (!to.segment_tokens) return;
    const auto tokens = static_cast<size_t>(to.starts[sequences]);
    *to.segment_count = find_segments({to.tokens, tokens}, to.order, to.segment_tokens, to.segment_starts);
  });
}

size_t CpuOps::prepare_scratch(int64_t) { return 0; }

void CpuOps::load_batch(const LoadBatch& op) {
  const BatchSlots from = op.slots.at(*op.step - *op.first_step);
  const int32_t tokens = from.starts[op.sequences];
  std::copy_n(from.starts, op.sequences + 1, op.to.starts);
  std::copy_n(from.labels, op.sequences, op.to.labels);
  std::copy_n(from.rows, op.sequences, op.to.rows);
  std::copy_n(from.tokens, tokens, op.to.tokens);
  if (from.masked_rows) {
    const int32_t masked = from.masked_starts[op.sequences];
    std::copy_n(from.masked_starts, op.sequences + 1, op.to.masked_starts);
    std::copy_n(from.masked_rows, masked, op.to.masked_rows);
    std::copy_n(from.masked_tokens, masked, op.to.masked_tokens);
  }
  if (!from.segment_tokens) return;
  const int32_t segments = *from.segment_count;
  std::copy_n(from.segment_tokens, segments, op.to.segment_tokens);
  std::copy_n(from.segment_starts, segments + 1, op.to.segment_starts);
  std::copy_n(from.order, tokens, op.to.order);
  *op.to.segment_count = segments;
}

void CpuOps::end_step(const EndStep& op) {
  float* history = op.history + *op.step % op.slots * op.loss.replicas * 2;
  for (int r = 0; r < op.loss.replicas; ++r) {
    history[r * 2] = op.loss.f32(r)[0];
    history[r * 2 + 1] = op.norm.f32(r)[0];
  }
  ++*op.step;
}

#include "kernels/isa_end.h"
