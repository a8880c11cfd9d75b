// Batches summed as two halves: the gradient is the whole batch's, and the bits are the same on one device and on two.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/crew.h"
#include "tests/small_session.h"

namespace mpq {
namespace {

constexpr int64_t kManySteps = 70;  // across the end of a window

SessionOptions sharded() {
  SessionOptions options = small_options;
  options.shards = 2;
  return options;
}

StepOrder one_step(int32_t rows) {
  StepOrder order;
  for (int32_t row = 0; row < rows; ++row) order.order.push_back(row);
  order.first.push_back(rows);
  return order;
}
// Of 1 to 5 rows: the second half of the first of them is empty.
StepOrder many_steps(int64_t rows) {
  StepOrder order;
  for (int64_t step = 0; step < kManySteps; ++step) {
    for (int64_t i = 0; i < 1 + step % 5; ++i) order.order.push_back(static_cast<int32_t>((step / 2 + 3 * i) % rows));
    order.first.push_back(static_cast<int64_t>(order.order.size()));
  }
  return order;
}

class ShardsTest : public DeviceTest {
 protected:
  const Bert model_{small};
};
MPQ_ON_EVERY_DEVICE(ShardsTest);

TEST_P(ShardsTest, TheGradientIsThatOfTheWholeBatch) {
  const auto parameters = random_parameters(model_);
  const std::vector<int32_t> lengths = {5, 1, 20, 3, 9};  // halves of three and two, with dropout
  for (const int32_t rows : {5, 2, 1}) {
    SCOPED_TRACE(fmt::format("{} rows", rows));
    const std::vector<int32_t> some(lengths.begin(), lengths.begin() + rows);
    Session session(*device_, model_, {replica(model_, {})}, sharded());
    set_all(session, parameters);
    session.attach(random_rows(some, 7), one_step(rows));
    const auto results = session.train_steps(1);
    expect_gradient(session, results[0], parameters, batch_of(some, 7));
  }
}

// Halves of one size are half of what they are as batches of their own, to the bit: a power of two changes no rounding.
TEST_P(ShardsTest, AHalfIsComputedAsIfAlone) {
  BertConfig config = small;
  config.hidden_dropout = config.attention_dropout = 0;  // it goes by the row's number in the batch
  const Bert model(config);
  const Split split = random_rows({5, 1, 20, 3, 9, 14}, 8);
  for (const char* format : {"none", "integer(width=8,frac=4)", "binary_residual(levels=2)"}) {
    SCOPED_TRACE(format);
    const Replica one = replica(model, {format});
    Session whole(*device_, model, {one}, sharded());
    whole.initialise();
    whole.attach(split, one_step(6));
    const auto result = whole.train_steps(1)[0];
    const auto first = open_session(*device_, model, {one}), second = open_session(*device_, model, {one});
    const auto a = first->compute_gradients(make_batch(split, std::vector<int64_t>{0, 1, 2}));
    const auto b = second->compute_gradients(make_batch(split, std::vector<int64_t>{3, 4, 5}));
    EXPECT_EQ(result.loss[0], a.loss[0] / 2 + b.loss[0] / 2);
    for (const Parameter& p : model.parameters().all()) {
      Floats sum = first->gradient(0, p);
      const Floats other = second->gradient(0, p);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] = sum[i] / 2 + other[i] / 2;
      expect_same_bits({whole.gradient(0, p)}, {sum});
    }
  }
}

// Two devices.
class ShardsPairTest : public ShardsTest {
 protected:
  ShardsPairTest() { pair_ = true; }
  void SetUp() override {
    ShardsTest::SetUp();
    split_ = random_rows({5, 1, 20, 3, 24, 9, 14, 2, 11}, 17);
  }
  std::unique_ptr<Session> on_one(const Replica& one) {
    auto session = std::make_unique<Session>(*device_, model_, std::vector{one}, sharded());
    return started(std::move(session));
  }
  std::unique_ptr<Session> on_both(const Replica& one) {
    auto session = std::make_unique<Session>(*device_, *second_, model_, one, sharded());
    return started(std::move(session));
  }
  std::unique_ptr<Session> started(std::unique_ptr<Session> session) {
    session->initialise();
    session->attach(split_, many_steps(split_.row_count()));
    return session;
  }

  Split split_;
};
MPQ_ON_EVERY_PAIR(ShardsPairTest);

TEST_P(ShardsPairTest, TwoDevicesHaveTheBitsOfOne) {
  for (const char* format : {"none", "block_fp(width=6,exponent=8,bias=127,block=*x16)", "binary_residual(levels=2)"}) {
    SCOPED_TRACE(format);
    const Replica one = replica(model_, {format, 3, 1e-3}, kManySteps);
    const auto alone = on_one(one), together = on_both(one);
    const auto expected = alone->train_steps(kManySteps);
    auto results = together->train_steps(9);
    for (const auto& more : together->train_steps(kManySteps - 9)) results.push_back(more);
    ASSERT_EQ(results.size(), expected.size());
    for (size_t step = 0; step < results.size(); ++step)
      expect_same_bits({results[step].loss, results[step].norm}, {expected[step].loss, expected[step].norm});
    expect_same_bits(everything(*alone, 0), everything(*together, 0));
    EXPECT_TRUE(std::isfinite(results.back().norm[0])) << results.back().norm[0];
  }
}

// Killed on two devices it goes on with one, and the other way round.
TEST_P(ShardsPairTest, KilledAndRestoredElsewhereItHasTheSameBits) {
  const Replica one = replica(model_, {"integer(width=8,frac=4)", 3, 1e-3}, kManySteps);
  const auto whole = on_one(one);
  whole->train_steps(kManySteps);
  const auto expected = everything(*whole, 0);
  for (const bool two_first : {true, false}) {
    const auto first = two_first ? on_both(one) : on_one(one);
    first->train_steps(23);
    const auto second = two_first ? on_one(one) : on_both(one);
    for (const Parameter& p : model_.parameters().all()) second->set(0, p, first->get(0, p));
    second->restore(0, first->optimizer_state(0));
    second->train_steps(kManySteps - 23);
    expect_same_bits(everything(*second, 0), expected);
  }
}

TEST_P(ShardsPairTest, BothEndsOfASumGetItsBits) {
  constexpr int64_t n = 100003;
  constexpr int kSums = 5;
  auto ends = device_->exchange_with(*second_);
  Device* devices[2] = {device_.get(), second_.get()};
  Floats addends[2], sums[2], expected(n);
  std::mt19937 engine(5);
  std::normal_distribution<float> normal;
  for (Floats& values : addends)
    for (int64_t i = 0; i < n; ++i) values.push_back(i % 7 ? normal(engine) : -0.0f);
  Crew crew;
  crew.run(2, [&](size_t end) {
    const DeviceMemory memory(*devices[end], (n + 16) * sizeof(float));
    Arena arena = memory.arena();
    const Tensor t = arena.tensor({n});
    for (int i = 0; i < kSums; ++i) {
      devices[end]->copy_in(t.data, addends[end].data(), n * sizeof(float));
      ends[end]->sum(t);
    }
    sums[end].resize(n);
    devices[end]->copy_out(sums[end].data(), t.data, n * sizeof(float));
  });
  for (int64_t i = 0; i < n; ++i) expected[i] = addends[0][i] + addends[1][i];
  expect_same_bits({sums[0], sums[1]}, {expected, expected});
}

TEST_P(ShardsPairTest, NobodyWaitsForAnEndThatFailed) {
  auto ends = device_->exchange_with(*second_);
  Crew crew;
  const auto run = [&](size_t end) {
    if (end == 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      ends[1]->abandon();
      throw UserError("the GPU is lost");
    }
    const DeviceMemory memory(*device_, 64);
    Arena arena = memory.arena();
    const Tensor t = arena.tensor({16});
    float value = 0;
    for (;;) {  // the first sum may end without its other half
      ends[0]->sum(t);
      device_->copy_out(&value, t.data, sizeof(value));
    }
  };
  EXPECT_THROW(crew.run(2, run), UserError);
}

}  // namespace
}  // namespace mpq
