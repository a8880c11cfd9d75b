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

BatchSlots batch_slots(Arena& arena, int64_t count, const BatchRoom& room) {
  const auto aligned = [](int64_t n) { return (n + 15) / 16 * 16; };
  BatchSlots s;
  s.row_stride = aligned(room.sequences + 1);
  s.token_stride = aligned(room.tokens + 1);
  s.masked_stride = aligned(room.masked);
  s.starts = arena.array<int32_t>(count * s.row_stride);
  s.labels = arena.array<int32_t>(count * s.row_stride);
  s.rows = arena.array<int32_t>(count * s.row_stride);
  s.tokens = arena.array<int32_t>(count * s.token_stride);
  if (room.masked > 0) {
    s.masked_starts = arena.array<int32_t>(count * s.row_stride);
    s.masked_rows = arena.array<int32_t>(count * s.masked_stride);
    s.masked_tokens = arena.array<int32_t>(count * s.masked_stride);
  }
  if (!room.segments) return s;
  s.segment_tokens = arena.array<int32_t>(count * s.token_stride);
  s.segment_starts = arena.array<int32_t>(count * s.token_stride);
  s.order = arena.array<int32_t>(count * s.token_stride);
  s.segment_count = arena.array<int32_t>(count);
  return s;
}

}  // namespace

BatchSlots batch_buffers(Arena& arena, const BatchRoom& room) { return batch_slots(arena, 1, room); }

Feed::Feed(Device& device, const Split& split, StepOrder order, int64_t window, bool segments, int64_t first_step)
    : device_(device), order_(std::move(order)), window_(window), base_(first_step) {
  room_.segments = segments;
  measure(split);
  Arena dry;
  allocate(dry, split);
  arena_ = device_.reserve(dry.peak());
  Arena arena = arena_;
  allocate(arena, split);
  upload(split);
}

Feed::~Feed() { device_.release(arena_); }

void Feed::measure(const Split& split) {
  const std::vector<int64_t>& masked = split.masked.row_starts;
  int64_t window_tokens = 0;
  for (int64_t t = 0; t < order_.steps(); ++t) {
    Size& size = sizes_.emplace_back();
    for (int64_t i = order_.first[t]; i < order_.first[t + 1]; ++i) {
      const int32_t row = order_.order[i];
      check(row >= 0 && row < split.row_count(), "row {} of {}", row, split.row_count());
      size.tokens += split.row_starts[row + 1] - split.row_starts[row];
      if (!masked.empty()) size.masked += masked[row + 1] - masked[row];
    }
    window_tokens = (base_ + t) % window_ == 0 ? size.tokens : window_tokens + size.tokens;
    most_window_tokens_ = std::max(most_window_tokens_, window_tokens);
    room_.tokens = std::max(room_.tokens, size.tokens);
    room_.masked = std::max(room_.masked, size.masked);
    room_.sequences = std::max<int64_t>(room_.sequences, sequences(base_ + t));
  }
}

// Copied to by upload().
void Feed::allocate(Arena& arena, const Split& split) {
  const auto room_for = [&]<class T>(const std::vector<T>& values) {
    return values.empty() ? nullptr : arena.array<T>(static_cast<int64_t>(values.size()));
  };
  on_device_ = {.tokens = room_for(split.tokens),
                .starts = room_for(split.row_starts),
                .labels = room_for(split.labels),
                .order = room_for(order_.order),
                .first = room_for(order_.first),
                .masked_starts = room_for(split.masked.row_starts),
                .masked_positions = room_for(split.masked.positions),
                .masked_tokens = room_for(split.masked.tokens)};
  targets_ = room_for(split.targets);
  slots_ = batch_slots(arena, std::min(window_, std::max<int64_t>(1, order_.steps())), room_);
  first_in_slots_ = arena.array<int64_t>(1);
  if (room_.segments) scratch_ = arena.take(device_.ops().prepare_scratch(most_window_tokens_));
}

void Feed::upload(const Split& split) {
  const auto copy = [&](const void* to, const auto& from) {
    if (!from.empty()) device_.copy_in(const_cast<void*>(to), from.data(), from.size() * sizeof(from[0]));
  };
  copy(on_device_.tokens, split.tokens);
  copy(on_device_.starts, split.row_starts);
  copy(on_device_.labels, split.labels);
  copy(on_device_.order, order_.order);
  copy(on_device_.first, order_.first);
  copy(on_device_.masked_starts, split.masked.row_starts);
  copy(on_device_.masked_positions, split.masked.positions);
  copy(on_device_.masked_tokens, split.masked.tokens);
  copy(targets_, split.targets);
}

void Feed::prepare(int64_t step) {
  check(step >= base_ && step < end(), "step {} of {} to {}", step, base_, end());
  if (step / window_ == prepared_) return;
  prepared_ = step / window_;
  const int64_t first = std::max(base_, prepared_ * window_), last = std::min(end(), (prepared_ + 1) * window_);
  int64_t tokens = 0;
  for (int64_t t = first; t < last; ++t) tokens += this->tokens(t);
  device_.copy_in(first_in_slots_, &first, sizeof(first));
  device_.ops().prepare_batches({.rows = on_device_,
                                 .first_step = first - base_,
                                 .count = last - first,
                                 .slots = slots_,
                                 .tokens = tokens,
                                 .scratch = scratch_});
}

BatchSlots Feed::batch(int64_t step) {
  prepare(step);
  return slots_.at(step - std::max(base_, prepared_ * window_));
}

}  // namespace mpq
