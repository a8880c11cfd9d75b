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

// The most that a batch holds.
struct BatchRoom {
  int64_t sequences = 1, tokens = 1, masked = 0;
  bool segments = false;
};

class Feed {
 public:
  // Batches of `window` steps are prepared together; with segments for training. The order's first step has the number
  // `first_step`.
  Feed(Device& device, const Split& split, StepOrder order, int64_t window, bool segments, int64_t first_step = 0);
  ~Feed();
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  int64_t first_step() const { return base_; }
  int64_t end() const { return base_ + order_.steps(); }
  int32_t sequences(int64_t step) const {
    return static_cast<int32_t>(order_.first[step - base_ + 1] - order_.first[step - base_]);
  }
  int64_t tokens(int64_t step) const { return sizes_[step - base_].tokens; }
  int64_t masked(int64_t step) const { return sizes_[step - base_].masked; }

  // Makes the batches of the window that holds `step`, unless they are there.
  void prepare(int64_t step);
  const BatchSlots& slots() const { return slots_; }
  BatchSlots batch(int64_t step);                                    // prepared, in its slot
  const int64_t* first_in_slots() const { return first_in_slots_; }  // [1], on the device: of the window
  const float* targets() const { return targets_; }                  // Split::targets on the device; null without

 private:
  struct Size {
    int64_t tokens = 0, masked = 0;
  };
  void measure(const Split& split);
  void allocate(Arena& arena, const Split& split);
  void upload(const Split& split);

  Device& device_;
  StepOrder order_;
  int64_t window_, base_, most_window_tokens_ = 1;
  BatchRoom room_;
  std::vector<Size> sizes_;  // of each step
  Arena arena_;
  StepRows on_device_;
  BatchSlots slots_;
  int64_t* first_in_slots_ = nullptr;
  float* targets_ = nullptr;
  void* scratch_ = nullptr;
  int64_t prepared_ = -1;  // the window that is in the slots
};

// Room for the batch of one step, at fixed addresses.
BatchSlots batch_buffers(Arena& arena, const BatchRoom& room);

}  // namespace mpq
