// A data set in a device's memory, and the batches that steps take from it: the host only names rows.
#pragma once
#include <vector>

#include "data/dataset.h"
#include "tensor/device.h"

namespace mpq {

// Which rows every step takes: order[first[t]] ... order[first[t + 1] - 1].
struct StepOrder {
  std::vector<int32_t> order;
  std::vector<int64_t> first = {0};

  int64_t steps() const { return static_cast<int64_t>(first.size()) - 1; }
  // All rows in their order, `rows_at_once` a step.
  static StepOrder sequential(int64_t rows, int64_t rows_at_once);
  // Of every step's rows the first half (0), which has one more where they are odd, or the rest (1).
  StepOrder half(int which) const;
};

class Feed {
 public:
  // Batches of `window` steps are prepared together; with segments for training.
  Feed(Device& device, const Split& split, StepOrder order, int64_t window, bool segments);
  ~Feed();
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  int64_t steps() const { return order_.steps(); }
  int32_t sequences(int64_t step) const { return static_cast<int32_t>(order_.first[step + 1] - order_.first[step]); }
  int64_t tokens(int64_t step) const { return tokens_[step]; }

  // Makes the batches of the window that holds `step`, unless they are there.
  void prepare(int64_t step);
  const BatchSlots& slots() const { return slots_; }
  const int64_t* first_step() const { return first_step_; }  // [1], on the device: of the window
  const float* targets() const { return targets_; }          // Split::targets on the device; null without

 private:
  void allocate(Arena& arena);

  Device& device_;
  StepOrder order_;
  int64_t window_, most_sequences_ = 1, most_tokens_ = 1, most_window_tokens_ = 1, rows_ = 0, row_tokens_ = 0;
  bool segments_;
  std::vector<int64_t> tokens_;  // of each step
  Arena arena_;
  StepRows on_device_;
  BatchSlots slots_;
  int64_t* first_step_ = nullptr;
  float* targets_ = nullptr;
  int64_t target_count_ = 0;
  void* scratch_ = nullptr;
  int64_t prepared_ = -1;  // the window that is in the slots
};

// Room for the batch of one step, at fixed addresses.
BatchSlots batch_buffers(Arena& arena, int64_t sequences, int64_t tokens, bool segments);

}  // namespace mpq
