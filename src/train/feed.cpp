#include "train/feed.h"

#include <algorithm>
#include <numeric>

namespace mpq {

StepOrder StepOrder::sequential(int64_t rows, int64_t rows_at_once) {
  StepOrder result;
  result.order.resize(rows);
  std::iota(result.order.begin(), result.order.end(), 0);
  for (int64_t at = 0; at < rows; at += rows_at_once) result.first.push_back(std::min(rows, at + rows_at_once));
  return result;
}

StepOrder StepOrder::half(int which) const {
  StepOrder result;
  for (int64_t t = 0; t < steps(); ++t) {
    const int64_t middle = first[t] + (first[t + 1] - first[t] + 1) / 2;
    const int64_t begin = which == 0 ? first[t] : middle, end = which == 0 ? middle : first[t + 1];
    result.order.insert(result.order.end(), order.begin() + begin, order.begin() + end);
    result.first.push_back(static_cast<int64_t>(result.order.size()));
  }
  return result;
}

namespace {

BatchSlots batch_slots(Arena& arena, int64_t count, int64_t sequences, int64_t tokens, bool segments) {
  const auto aligned = [](int64_t n) { return (n + 15) / 16 * 16; };
  BatchSlots s;
  s.row_stride = aligned(sequences + 1);
  s.token_stride = aligned(tokens + 1);
  s.starts = arena.array<int32_t>(count * s.row_stride);
  s.labels = arena.array<int32_t>(count * s.row_stride);
  s.rows = arena.array<int32_t>(count * s.row_stride);
  s.tokens = arena.array<int32_t>(count * s.token_stride);
  if (!segments) return s;
  s.segment_tokens = arena.array<int32_t>(count * s.token_stride);
  s.segment_starts = arena.array<int32_t>(count * s.token_stride);
  s.order = arena.array<int32_t>(count * s.token_stride);
  s.segment_count = arena.array<int32_t>(count);
  return s;
}

}  // namespace

BatchSlots batch_buffers(Arena& arena, int64_t sequences, int64_t tokens, bool segments) {
  return batch_slots(arena, 1, sequences, tokens, segments);
}

Feed::Feed(Device& device, const Split& split, StepOrder order, int64_t window, bool segments)
    : device_(device),
      order_(std::move(order)),
      window_(window),
      rows_(split.row_count()),
      row_tokens_(static_cast<int64_t>(split.tokens.size())),
      segments_(segments),
      target_count_(static_cast<int64_t>(split.targets.size())) {
  int64_t window_tokens = 0;
  for (int64_t t = 0; t < steps(); ++t) {
    int64_t tokens = 0;
    for (int64_t i = order_.first[t]; i < order_.first[t + 1]; ++i) {
      const int32_t row = order_.order[i];
      check(row >= 0 && row < rows_, "row {} of {}", row, rows_);
      tokens += split.row_starts[row + 1] - split.row_starts[row];
    }
    tokens_.push_back(tokens);
    window_tokens = t % window_ == 0 ? tokens : window_tokens + tokens;
    most_window_tokens_ = std::max(most_window_tokens_, window_tokens);
    most_tokens_ = std::max(most_tokens_, tokens);
    most_sequences_ = std::max<int64_t>(most_sequences_, sequences(t));
  }
  Arena measure;
  allocate(measure);
  arena_ = device_.reserve(measure.peak());
  Arena arena = arena_;
  allocate(arena);
  const auto copy = [&](const void* to, const auto& from) {
    if (!from.empty()) device_.copy_in(const_cast<void*>(to), from.data(), from.size() * sizeof(from[0]));
  };
  copy(on_device_.tokens, split.tokens);
  copy(on_device_.starts, split.row_starts);
  copy(on_device_.labels, split.labels);
  if (targets_) copy(targets_, split.targets);
  copy(on_device_.order, order_.order);
  copy(on_device_.first, order_.first);
}

Feed::~Feed() { device_.release(arena_); }

void Feed::allocate(Arena& arena) {
  on_device_.tokens = arena.array<int32_t>(row_tokens_);
  on_device_.starts = arena.array<int64_t>(rows_ + 1);
  on_device_.labels = arena.array<int32_t>(rows_);
  if (target_count_ > 0) targets_ = arena.array<float>(target_count_);
  on_device_.order = arena.array<int32_t>(static_cast<int64_t>(order_.order.size()));
  on_device_.first = arena.array<int64_t>(static_cast<int64_t>(order_.first.size()));
  slots_ =
      batch_slots(arena, std::min(window_, std::max<int64_t>(1, steps())), most_sequences_, most_tokens_, segments_);
  first_step_ = arena.array<int64_t>(1);
  scratch_ = arena.take(device_.ops().prepare_scratch(most_window_tokens_));
}

void Feed::prepare(int64_t step) {
  check(step >= 0 && step < steps(), "step {} of {}", step, steps());
  if (step / window_ == prepared_) return;
  prepared_ = step / window_;
  const int64_t first = prepared_ * window_, count = std::min(window_, steps() - first);
  device_.copy_in(first_step_, &first, sizeof(first));
  device_.ops().prepare_batches(
      {.rows = on_device_,
       .first_step = first,
       .count = count,
       .slots = slots_,
       .tokens = std::accumulate(tokens_.begin() + first, tokens_.begin() + first + count, int64_t{0}),
       .scratch = scratch_});
}

}  // namespace mpq
