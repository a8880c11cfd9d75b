// A session of a masked language model: its gradient against a naive one, and the bits that must not depend on company,
// threads, batches or restarts.
#include <gtest/gtest.h>

#include "base/parallel.h"
#include "tests/devices.h"
#include "tests/small_session.h"

namespace mpq {
namespace {

constexpr int kMost = 4;  // masked tokens of a row
const SessionOptions options{.batch_rows = 8, .eval_rows = 8, .max_tokens = small.positions, .masked_tokens = kMost};

// Every row has one masked token or more, as far as it is long.
Split masked_rows_of(const std::vector<int32_t>& lengths, unsigned seed) {
  Split split = random_rows(lengths, seed);
  std::mt19937 engine(seed + 1);
  split.masked.row_starts = {0};
  for (const int32_t length : lengths) {
    const int32_t count = std::min<int32_t>(length, 1 + static_cast<int32_t>(engine() % kMost));
    for (int32_t i = 0; i < count; ++i) {
      split.masked.positions.push_back(i * length / count);
      split.masked.tokens.push_back(static_cast<int32_t>(engine() % small.vocabulary));
    }
    split.masked.row_starts.push_back(static_cast<int64_t>(split.masked.tokens.size()));
  }
  return split;
}
Split split_at(int64_t step) {
  return masked_rows_of({5, 1, 20, 3 + static_cast<int32_t>(step % 4)}, 200 + static_cast<unsigned>(step));
}
Batch masked_batch_at(int64_t step) { return make_batch(split_at(step), std::vector<int64_t>{0, 1, 2, 3}); }

std::unique_ptr<Session> open_masked(Device& device, const Bert& model, std::vector<Replica> replicas) {
  auto session = std::make_unique<Session>(device, model, std::move(replicas), options);
  session->initialise();
  return session;
}

void train(Session& s, int64_t to) {
  while (s.step() < to) s.train_step(masked_batch_at(s.step()));
}

std::vector<Floats> learnt(Session& s, int r) {
  std::vector<Floats> all;
  for (const Parameter& p : s.model().parameters().all()) all.push_back(s.get(r, p));
  const OptimizerState state = s.optimizer_state(r);
  all.insert(all.end(), {state.m, state.v, {static_cast<float>(s.masked_loss(split_at(99))[r])}});
  return all;
}

class MaskedLmTest : public DeviceTest {
 protected:
  const Bert model_{small, Head::masked_lm};
};
MPQ_ON_EVERY_DEVICE(MaskedLmTest);
class CpuMaskedLmTest : public MaskedLmTest {};
MPQ_ON_EVERY_CPU(CpuMaskedLmTest);

TEST(NaiveMaskedLm, Gradient) {
  const Bert model(small, Head::masked_lm);
  auto parameters = random_parameters(model);
  const Batch batch = masked_batch_at(0);
  const auto gradient = naive_pass(parameters, batch).gradient();
  ASSERT_TRUE(gradient.contains("cls.predictions.bias"));
  std::mt19937 engine(4);
  constexpr double h = 1e-5;
  for (const auto& [name, grad] : gradient)
    for (int i = 0; i < 6; ++i) {
      double& value = parameters[name][engine() % grad.size()];
      const auto at = static_cast<size_t>(&value - parameters[name].data());
      const double saved = value;
      double loss[2];
      for (int side : {0, 1}) {
        value = saved + (side ? h : -h);
        loss[side] = naive_pass(parameters, batch).loss();
      }
      value = saved;
      EXPECT_NEAR((loss[1] - loss[0]) / (2 * h), grad[at], 1e-7 * (1 + std::abs(grad[at]))) << name;
    }
}

TEST_P(MaskedLmTest, GradientOfTheWholeModel) {
  const auto parameters = random_parameters(model_);
  const auto session = open_masked(*device_, model_, {replica(model_, {})});
  set_all(*session, parameters);
  const Batch batch = masked_batch_at(0);
  expect_gradient(*session, session->compute_gradients(batch), parameters, batch);
}

// Frozen parameters stay, the others move as if nothing were frozen in the loss.
TEST_P(MaskedLmTest, FrozenParametersStay) {
  for (const char* pattern : {"embeddings.word*", "cls.predictions.transform.LayerNorm.weight", "encoder*"}) {
    SCOPED_TRACE(pattern);
    Bert model(small, Head::masked_lm);
    ASSERT_GT(model.freeze(pattern), 0);
    const auto session = open_masked(*device_, model, {replica(model, {})});
    std::map<std::string, Floats> before;
    for (const Parameter& p : model.parameters().all()) before[p.name] = session->get(0, p);
    train(*session, 3);
    for (const Parameter& p : model.parameters().all()) {
      if (p.name.ends_with(".quantizer") || p.name.ends_with("key.bias")) continue;
      EXPECT_EQ(p.frozen, before[p.name] == session->get(0, p)) << p.name;
    }
  }
}

TEST_P(MaskedLmTest, AReplicaHasTheBitsItHasAlone) {
  const std::vector<Wish> wishes = {{.seed = 1}, {"none", 2, 3e-3}, {"integer(width=8,frac=4)", 3, 2e-3}};
  std::vector<Replica> replicas;
  for (const Wish& w : wishes) replicas.push_back(replica(model_, w));
  const auto together = open_masked(*device_, model_, replicas);
  train(*together, 5);
  for (int r = 0; r < together->replicas(); ++r) {
    const auto alone = open_masked(*device_, model_, {replicas[r]});
    train(*alone, 5);
    expect_same_bits(learnt(*together, r), learnt(*alone, 0));
  }
}

TEST_P(CpuMaskedLmTest, ThreadsChangeNoBit) {
  const auto result = [&](int n) {
    set_threads(n);
    const auto session = open_masked(*device_, model_, {replica(model_, {})});
    train(*session, 4);
    return learnt(*session, 0);
  };
  const int before = threads();
  expect_same_bits(result(1), result(3));
  set_threads(before);
}

// Batches gathered on the device, of an attached split whose first step is not the run's, have the bits of the host's.
TEST_P(MaskedLmTest, AttachedStepsAreThoseOfBatchesFromTheHost) {
  Split all;
  all.masked.row_starts = {0};
  for (int64_t step = 0; step < kSteps; ++step) {
    const Split one = split_at(step);
    const auto tokens = static_cast<int64_t>(all.tokens.size()),
               masked = static_cast<int64_t>(all.masked.tokens.size());
    for (size_t r = 1; r < one.row_starts.size(); ++r) {
      all.row_starts.push_back(tokens + one.row_starts[r]);
      all.masked.row_starts.push_back(masked + one.masked.row_starts[r]);
    }
    const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    append(all.tokens, one.tokens), append(all.labels, one.labels);
    append(all.masked.positions, one.masked.positions), append(all.masked.tokens, one.masked.tokens);
  }
  const auto hosted = open_masked(*device_, model_, {replica(model_, {})}),
             attached = open_masked(*device_, model_, {replica(model_, {})});
  train(*hosted, kSteps);
  StepOrder order = StepOrder::sequential(all.row_count(), 4);
  attached->attach(all, order);
  attached->train_steps(5);
  order.order.erase(order.order.begin(), order.order.begin() + 5 * 4);  // the rest, as an order of its own
  order.first.resize(kSteps - 5 + 1);
  attached->attach(all, order, 5);
  attached->train_steps(kSteps - 5);
  expect_same_bits(learnt(*hosted, 0), learnt(*attached, 0));
}

TEST_P(MaskedLmTest, RestoredItGoesOnWithTheSameBits) {
  const auto whole = open_masked(*device_, model_, {replica(model_, {})}),
             first = open_masked(*device_, model_, {replica(model_, {})}),
             second = open_masked(*device_, model_, {replica(model_, {.seed = 42})});
  train(*whole, 6), train(*first, 3);
  for (const Parameter& p : model_.parameters().all()) second->set(0, p, first->get(0, p));
  second->restore(0, first->optimizer_state(0));
  train(*second, 6);
  expect_same_bits(learnt(*whole, 0), learnt(*second, 0));
}

// The sum over a split is that of its rows one at a time, up to rounding of each batch's mean.
TEST_P(MaskedLmTest, HeldOutLossIsTheSumOverTheRows) {
  const auto session = open_masked(*device_, model_, {replica(model_, {})});
  train(*session, 3);
  const std::vector<int32_t> lengths = {5, 1, 20, 9, 2, 7, 3, 4, 11, 6, 24};
  const Split split = masked_rows_of(lengths, 7);
  double sum = 0;
  for (int64_t r = 0; r < split.row_count(); ++r) {
    Split one;
    one.tokens.assign(split.row(r).begin(), split.row(r).end());
    one.row_starts.push_back(static_cast<int64_t>(one.tokens.size()));
    one.labels = {0};
    const auto begin = split.masked.row_starts[r], end = split.masked.row_starts[r + 1];
    one.masked.row_starts = {0, end - begin};
    one.masked.positions.assign(&split.masked.positions[begin], &split.masked.positions[begin] + (end - begin));
    one.masked.tokens.assign(&split.masked.tokens[begin], &split.masked.tokens[begin] + (end - begin));
    sum += session->masked_loss(one)[0];
  }
  EXPECT_NEAR(session->masked_loss(split)[0], sum, 1e-6 * sum);
}

}  // namespace
}  // namespace mpq
