// Batches made in the device's memory are the batches of data/loader.h; the end of a step writes its history.
#include <gtest/gtest.h>

#include <algorithm>

#include "data/loader.h"
#include "tests/devices.h"
#include "tests/rig.h"

namespace mpq {
namespace {

constexpr int32_t kUnwritten = -77;

Split ragged_split(int32_t rows) {
  Split split;
  for (int32_t r = 0; r < rows; ++r) {
    for (int32_t i = 0; i <= r * 37 % 150; ++i) split.tokens.push_back((r * 7919 + i * 104729) % 900);
    split.row_starts.push_back(static_cast<int64_t>(split.tokens.size()));
    split.labels.push_back(r % 3);
  }
  split.tokens[5] = 30521;
  return split;
}

class BatchesTest : public DeviceTest {
 protected:
  template <class T>
  T* array(const std::vector<T>& values) {
    return const_cast<T*>(rig_->array(values));
  }
  template <class T>
  std::vector<T> read(const T* data, int64_t count) {
    std::vector<T> values(static_cast<size_t>(count));
    device_->copy_out(values.data(), data, values.size() * sizeof(T));
    return values;
  }
  int32_t* unwritten(int64_t count) { return array(std::vector<int32_t>(static_cast<size_t>(count), kUnwritten)); }

  void SetUp() override {
    DeviceTest::SetUp();
    if (!device_) return;
    rig_ = std::make_unique<Rig>(*device_);
    split_ = ragged_split(29);
    split_.masked.row_starts = {0};
    for (int32_t r = 0; r < 29; ++r) {
      for (int32_t i = r % 3; i < r * 37 % 150 + 1 && r % 5 != 4; i += 7) {  // some rows have none
        split_.masked.positions.push_back(i);
        split_.masked.tokens.push_back(1000 + r * 31 + i);
      }
      split_.masked.row_starts.push_back(static_cast<int64_t>(split_.masked.tokens.size()));
    }
    for (int64_t epoch = 0; epoch < 2; ++epoch)
      for (int64_t step = 0; step < loader_.steps_per_epoch(); ++step) {
        const auto rows = loader_.rows(epoch, step);
        batches_.push_back(make_batch(split_, rows));
        for (int64_t r : rows) order_.push_back(static_cast<int32_t>(r));
        first_.push_back(static_cast<int64_t>(order_.size()));
        if (step + 1 < loader_.steps_per_epoch()) continue;
        batches_.push_back(make_batch(split_, {}));  // a half of a batch may have no rows
        first_.push_back(static_cast<int64_t>(order_.size()));
      }
    for (const Batch& b : batches_) {
      most_tokens_ = std::max(most_tokens_, b.token_count());
      most_masked_ = std::max(most_masked_, static_cast<int64_t>(b.masked_rows.size()));
    }
  }
  StepRows step_rows() {
    return {array(split_.tokens),
            array(split_.row_starts),
            array(split_.labels),
            array(order_),
            array(first_),
            array(split_.masked.row_starts),
            array(split_.masked.positions),
            array(split_.masked.tokens)};
  }
  BatchSlots slots(int64_t count, bool segments) {
    BatchSlots s{.row_stride = kRows + 1, .token_stride = most_tokens_ + 3};
    s.starts = unwritten(count * s.row_stride);
    s.labels = unwritten(count * s.row_stride);
    s.rows = unwritten(count * s.row_stride);
    s.tokens = unwritten(count * s.token_stride);
    s.masked_stride = most_masked_ + 2;
    s.masked_starts = unwritten(count * s.row_stride);
    s.masked_rows = unwritten(count * s.masked_stride);
    s.masked_tokens = unwritten(count * s.masked_stride);
    if (!segments) return s;
    s.segment_tokens = unwritten(count * s.token_stride);
    s.segment_starts = unwritten(count * s.token_stride);
    s.order = unwritten(count * s.token_stride);
    s.segment_count = unwritten(count);
    return s;
  }
  PrepareBatches prepare(const StepRows& rows, int64_t first, int64_t count, const BatchSlots& to) {
    int64_t tokens = 0;
    for (int64_t i = first; i < first + count; ++i) tokens += batches_[static_cast<size_t>(i)].token_count();
    const size_t bytes = device_->ops().prepare_scratch(tokens);
    return {rows, first, count, to, tokens, array(std::vector<uint8_t>(bytes + 1))};
  }
  // What is written is `expected`; the array behind it, up to `room`, is as it was.
  void expect_written(const int32_t* data, const std::vector<int32_t>& expected, int64_t room) {
    std::vector<int32_t> whole = expected;
    whole.resize(static_cast<size_t>(room), kUnwritten);
    EXPECT_EQ(read(data, room), whole);
  }
  void expect_batch(const BatchSlots& at, const Batch& batch) {
    expect_written(at.starts, batch.row_starts, at.row_stride);
    expect_written(at.labels, batch.labels, at.row_stride);
    expect_written(at.rows, {batch.rows.begin(), batch.rows.end()}, at.row_stride);
    expect_written(at.tokens, batch.tokens, at.token_stride);
    expect_written(at.masked_starts, batch.masked_starts, at.row_stride);
    expect_written(at.masked_rows, batch.masked_rows, at.masked_stride);
    expect_written(at.masked_tokens, batch.masked_tokens, at.masked_stride);
    if (!at.segment_tokens) return;
    expect_written(at.segment_tokens, batch.segment_tokens, at.token_stride);
    expect_written(at.segment_starts, batch.segment_starts, at.token_stride);
    expect_written(at.order, batch.token_order, at.token_stride);
    EXPECT_EQ(read(at.segment_count, 1)[0], static_cast<int32_t>(batch.segment_tokens.size()));
  }

  static constexpr int64_t kRows = 8;  // a batch; the last of an epoch has 5
  Loader loader_{29, kRows, 3};
  Split split_;
  std::vector<Batch> batches_;
  std::vector<int32_t> order_;
  std::vector<int64_t> first_ = {0};
  int64_t most_tokens_ = 0, most_masked_ = 0;
  std::unique_ptr<Rig> rig_;
};
MPQ_ON_EVERY_DEVICE(BatchesTest);

TEST_P(BatchesTest, AreThoseOfTheLoader) {
  const StepRows rows = step_rows();
  for (const bool segments : {true, false}) {
    const BatchSlots prepared = slots(5, segments);
    device_->ops().prepare_batches(
        prepare(rows, 2, 5, prepared));  // step 3 is an epoch's smaller last batch, 4 has no rows
    const int64_t* first_step = array(std::vector<int64_t>{2});
    for (int64_t step = 2; step < 7; ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      const Batch& batch = batches_[static_cast<size_t>(step)];
      const BatchSlots loaded = slots(1, segments);
      device_->ops().load_batch({.slots = prepared,
                                 .to = loaded,
                                 .step = array(std::vector<int64_t>{step}),
                                 .first_step = first_step,
                                 .sequences = static_cast<int32_t>(batch.row_count())});
      expect_batch(loaded, batch);
    }
  }
}

TEST_P(BatchesTest, ASlotThatIsUsedAgainHoldsTheNewBatch) {
  const StepRows rows = step_rows();
  const BatchSlots prepared = slots(1, true);
  for (int64_t step : {0, 3, 4, 1}) {
    SCOPED_TRACE("step " + std::to_string(step));
    const Batch& batch = batches_[static_cast<size_t>(step)];
    device_->ops().prepare_batches(prepare(rows, step, 1, prepared));
    EXPECT_EQ(read(prepared.starts, batch.row_count() + 1), batch.row_starts);
    EXPECT_EQ(read(prepared.tokens, batch.token_count()), batch.tokens);
    EXPECT_EQ(read(prepared.order, batch.token_count()), batch.token_order);
    EXPECT_EQ(read(prepared.segment_count, 1)[0], static_cast<int32_t>(batch.segment_tokens.size()));
  }
}

TEST_P(BatchesTest, TheEndOfAStepWritesItsHistory) {
  constexpr int64_t kSlots = 3;
  int64_t* step = array(std::vector<int64_t>{7});
  const std::vector<float> before(kSlots * 2 * 2, -1);
  float* history = array(before);
  std::vector<float> expected = before;
  for (int64_t t = 7; t < 11; ++t) {
    const float at = static_cast<float>(t);
    device_->ops().end_step({.loss = rig_->tensor({1}, {{at}, {at + 0.25f}}),
                             .norm = rig_->tensor({1}, {{at + 0.5f}, {at + 0.75f}}),
                             .history = history,
                             .slots = kSlots,
                             .step = step});
    for (int i = 0; i < 4; ++i)
      expected[static_cast<size_t>(t % kSlots * 4 + i)] = at + (i % 2 ? 0.5f : 0.0f) + (i / 2 ? 0.25f : 0.0f);
    EXPECT_EQ(read(history, kSlots * 4), expected);
    EXPECT_EQ(read(step, 1)[0], t + 1);
  }
}

}  // namespace
}  // namespace mpq
