// A session as a whole: its gradient against a naive BERT, and the bits that must not depend on company, threads,
// batches or restarts.
#include <gtest/gtest.h>

#include "base/parallel.h"
#include "quant/quantize.h"
#include "tests/devices.h"
#include "tests/small_session.h"
#include "train/mirror.h"

namespace mpq {
namespace {

void train(Session& s, int64_t to) {
  while (s.step() < to) s.train_step(batch_at(s.step()));
}

class SessionTest : public DeviceTest {
 protected:
  const Bert model_{small};
};
MPQ_ON_EVERY_DEVICE(SessionTest);

// Finite differences check the naive gradient: along one random direction and at some elements of every parameter.
TEST(NaiveBert, Gradient) {
  const Bert model(small);
  auto parameters = random_parameters(model);
  const Batch batch = batch_at(0);
  const auto gradient = naive_pass(parameters, batch).gradient();
  std::mt19937 engine(4);
  constexpr double h = 1e-5;
  for (const auto& [name, grad] : gradient) {
    std::vector<std::vector<std::pair<size_t, double>>> directions(1);
    for (size_t i = 0; i < grad.size(); ++i) directions[0].emplace_back(i, engine() % 2 ? 1.0 : -1.0);
    for (int i = 0; i < 4; ++i) directions.push_back({{engine() % grad.size(), 1.0}});
    for (const auto& direction : directions) {
      auto& values = parameters[name];
      const auto saved = values;
      double expected = 0, loss[2];
      for (int side : {0, 1}) {
        for (const auto& [i, sign] : direction) values[i] = saved[i] + (side ? h : -h) * sign;
        loss[side] = naive_pass(parameters, batch).loss();
      }
      for (const auto& [i, sign] : direction) expected += sign * grad[i];
      values = saved;
      EXPECT_NEAR((loss[1] - loss[0]) / (2 * h), expected, 1e-7 * (1 + std::abs(expected))) << name;
    }
  }
}

TEST_P(SessionTest, GradientOfTheWholeModel) {
  const auto parameters = random_parameters(model_);
  const auto session = open_session(*device_, model_, {replica(model_, {})});
  set_all(*session, parameters);
  const Batch batch = batch_at(0);
  const auto result = session->compute_gradients(batch);
  expect_gradient(*session, result, parameters, batch);
}

// Trained from one seed, a device's losses leave those of the CPU no further than twice what the CPU's own do with its
// sums in the opposite order: rows of a batch and units of the model reversed. Without dropout, which goes by places.
TEST_P(SessionTest, FollowsTheCpu) {
  constexpr int64_t kCourse = 40;
  BertConfig config = small;
  config.hidden_dropout = config.attention_dropout = 0;
  const Bert model(config);
  const auto losses = [&](Device& device, bool reversed) {
    Replica one = replica(model, {.rate = 1e-3});
    one.schedule.steps = kCourse;
    const auto session = open_session(device, model, {one});
    if (reversed) mirror(*session, 0);
    const std::vector<int64_t> rows = reversed ? std::vector<int64_t>{3, 2, 1, 0} : std::vector<int64_t>{0, 1, 2, 3};
    Floats losses;
    while (session->step() < kCourse) {
      const Split split = random_rows({5, 1, 20, 9}, static_cast<unsigned>(session->step()));
      losses.push_back(session->train_step(make_batch(split, rows)).loss[0]);
    }
    return losses;
  };
  const auto cpu = open_or_null("cpu/avx2");
  const Floats expected = losses(*cpu, false);
  const naive::Array<double> exact(expected.begin(), expected.end());
  const double other_order = largest_difference(losses(*cpu, true), exact);
  EXPECT_GT(other_order, 0);
  EXPECT_LT(other_order, 1e-4);
  EXPECT_LE(largest_difference(losses(*device_, false), exact), 2 * other_order + 1e-6);
}

TEST_P(SessionTest, ReplicasOfASeedStartWithTheSameValues) {
  std::vector<Replica> replicas;
  for (const Wish& w : std::vector<Wish>{{}, {.seed = 7}, {"binary_residual(levels=2)"}, {"none", 7}})
    replicas.push_back(replica(model_, w));
  Session together(*device_, model_, replicas, small_options);
  together.initialise();
  for (int r = 0; r < together.replicas(); ++r)
    expect_same_bits(everything(together, r), everything(*open_session(*device_, model_, {replicas[r]}), 0));
}

TEST_P(SessionTest, ASplitIsEvaluatedAsItsRowsAre) {
  std::vector<int32_t> lengths;
  for (int i = 0; i < 19 * small_options.eval_rows + 3; ++i) lengths.push_back(1 + i * 5 % 24);  // two windows
  const Split split = random_rows(lengths, 5);
  const auto session = open_session(*device_, model_, {replica(model_, {}), replica(model_, {.seed = 3})});
  const auto all = session->logits(split, {});
  for (int64_t row = 0; row < split.row_count(); ++row) {
    const auto alone = session->logits(make_batch(split, std::vector<int64_t>{row}));
    for (size_t r = 0; r < all.size(); ++r) {
      const float* at = all[r].data() + row * small.classes;
      ASSERT_EQ(Floats(at, at + small.classes), alone[r]) << "row " << row << ", replica " << r;
    }
  }
}

TEST_P(SessionTest, ClsOnlyLastLayerEqualsTheFullOne) {
  // A second replica whose last layer has blocks over all rows of a sequence: the shortcut is off for both.
  std::vector<Replica> both = {replica(model_, {}), replica(model_, {.format = "none", .seed = 43})};
  const Bert& m = model_;
  both[1].formats[m.layers.back().output.index] =
      parse_linear_spec("x=block_fp(width=12,exponent=8,bias=127,block=*x16);w=none;b=none");
  const FormatTable short_cut(m, {both[0].formats}), whole(m, {both[0].formats, both[1].formats});
  ASSERT_FALSE(short_cut.input_over_sequence());
  ASSERT_TRUE(whole.input_over_sequence());
  const auto alone = open_session(*device_, m, {both[0]}), full = open_session(*device_, m, both);
  train(*alone, 4), train(*full, 4);
  expect_same_bits(everything(*alone, 0), everything(*full, 0));
}

class CpuSessionTest : public SessionTest {};
MPQ_ON_EVERY_CPU(CpuSessionTest);

// Only [CLS] rows have a gradient where a format looks over the sequence: the bits of the layer that runs on all rows
// forward and backward. That is what company gets whose outputs have such a format; a CPU's sums do not notice. Where
// dropout takes every key of a head, block_log fills [CLS]'s tile with what the other rows have.
TEST_P(CpuSessionTest, SequenceFormatsInTheLastLayerHaveTheBitsOfTheWholeLayer) {
  BertConfig config = small;
  config.attention_dropout = 0.8f;
  const Bert m(config);
  for (const char* format :
       {"block_log(width=4,bias_width=4,block=1x8)", "block_fp(width=6,exponent=8,bias=127,block=*x16)"}) {
    SCOPED_TRACE(format);
    const std::vector<Replica> both = {
        replica(m, {format}), replica(m, {"x=none;w=none;b=none;y=block_fp(width=8,exponent=8,bias=127,block=*x16)"})};
    ASSERT_FALSE(FormatTable(m, {both[0].formats}).output_over_sequence());
    ASSERT_TRUE(FormatTable(m, {both[0].formats, both[1].formats}).output_over_sequence());
    const auto alone = open_session(*device_, m, {both[0]}), whole = open_session(*device_, m, both);
    train(*alone, 6), train(*whole, 6);
    expect_same_bits(everything(*whole, 0), everything(*alone, 0));
  }
}

// Where all rows are computed for tiles of zeros only, and where company's format wants them in any case. Dropout that
// takes every key of a head makes such tiles.
TEST_P(SessionTest, TilesOfZerosHaveTheSameBitsInAnyCompany) {
  BertConfig config = small;
  config.attention_dropout = 0.8f;
  const Bert m(config);
  const std::vector<Replica> both = {
      replica(m, {"block_log(width=4,bias_width=4,block=1x8)"}),
      replica(m, {"x=block_fp(width=6,exponent=8,bias=127,block=*x16);w=none;b=none", 2})};
  ASSERT_FALSE(FormatTable(m, {both[0].formats}).input_tiles_over_rows());
  ASSERT_TRUE(FormatTable(m, {both[0].formats, both[1].formats}).input_tiles_over_rows());
  const auto alone = open_session(*device_, m, {both[0]}), together = open_session(*device_, m, both);
  train(*alone, 6), train(*together, 6);
  expect_same_bits(everything(*together, 0), everything(*alone, 0));
}

TEST_P(SessionTest, AReplicaHasTheBitsItHasAlone) {
  const std::vector<Wish> wishes = {{.seed = 1},
                                    {"integer(width=8,frac=4)", 2, 3e-3},
                                    {"block_fp(width=6,exponent=8,bias=127,block=1x16)", 3, 2e-3},
                                    {"binary_residual(levels=2)", 4, 1e-3},
                                    {"block_fp(width=6,exponent=8,bias=127,block=*x16)", 6, 1e-3},
                                    {"nvfp4()", 7, 1e-3},
                                    {"block_log(width=4,bias_width=4,block=1x8)", 9, 1e-3},
                                    {"x=ternary(rule=twn,per=tensor);w=ternary(rule=twn,per=tensor);b=none", 8, 1e-3},
                                    {"x=integer(width=8,frac=4);w=none;b=none", 5, 1e-3}};
  std::vector<Replica> replicas;
  for (const Wish& w : wishes) replicas.push_back(replica(model_, w));
  replicas.back().formats[0] = parse_linear_spec("binary_residual(levels=3)");  // one Linear among others
  const auto together = open_session(*device_, model_, replicas);
  train(*together, 5);
  for (int r = 0; r < together->replicas(); ++r) {
    SCOPED_TRACE(wishes[r].format);
    const auto alone = open_session(*device_, model_, {replicas[r]});
    train(*alone, 5);
    expect_same_bits(everything(*together, r), everything(*alone, 0));
  }
}

// One format for every Linear: every family, with the first of its choices in a search, and outputs with formats.
std::vector<std::string> family_specs() {
  std::vector<std::string> specs = {
      "none", "x=integer(width=8,frac=4);w=integer(width=8,frac=6);b=integer(width=8,frac=4);y=integer(width=8,frac=4)",
      "x=none;w=none;b=none;y=block_fp(width=8,exponent=8,bias=127,block=*x16)"};
  for (const Family& f : families()) specs.emplace_back(f.choices[0]);
  return specs;
}

TEST_P(CpuSessionTest, ThreadsChangeNoBit) {
  const int before = threads();
  for (const std::string& format : family_specs()) {
    SCOPED_TRACE(format);
    std::vector<Floats> one;
    for (int n : {1, 2, 3}) {
      set_threads(n);
      const auto session = open_session(*device_, model_, {replica(model_, {format})});
      train(*session, 3);
      if (n == 1)
        one = everything(*session, 0);
      else
        expect_same_bits(one, everything(*session, 0));
    }
  }
  set_threads(before);
}

TEST_P(SessionTest, KilledAndRestoredHasTheSameBits) {
  for (const char* format : {"none", "integer(width=8,frac=4)", "binary_residual(levels=3)"}) {
    SCOPED_TRACE(format);
    const auto whole = open_session(*device_, model_, {replica(model_, {format})});
    train(*whole, kSteps);
    const auto first = open_session(*device_, model_, {replica(model_, {format})});
    train(*first, 5);
    const auto second = open_session(*device_, model_, {replica(model_, {format, 42})});
    for (const Parameter& p : model_.parameters().all()) second->set(0, p, first->get(0, p));
    second->restore(0, first->optimizer_state(0));
    train(*second, kSteps);
    expect_same_bits(everything(*whole, 0), everything(*second, 0));
  }
}

// A device with graphs records the steps of the second session: batches of several sizes, one of them twice in a row,
// across the end of a window and with a stop in between.
TEST_P(SessionTest, StepsOnADataSetHaveTheBitsOfBatchesFromTheHost) {
  constexpr int64_t steps = 70;
  const Split split = random_rows({5, 1, 20, 3, 24, 9, 14, 2, 11}, 17);
  StepOrder order;
  for (int64_t step = 0; step < steps; ++step) {
    for (int64_t i = 0; i < 1 + step % 4; ++i)
      order.order.push_back(static_cast<int32_t>((step / 2 + 3 * i) % split.row_count()));
    order.first.push_back(static_cast<int64_t>(order.order.size()));
  }
  for (const char* format : {"none", "block_fp(width=6,exponent=8,bias=127,block=*x16)",
                             "block_log(width=4,bias_width=4,block=1x16)", "binary_residual(levels=2)", "nvfp4()"}) {
    SCOPED_TRACE(format);
    const std::vector<Replica> replicas = {replica(model_, {format, 3, 1e-3}, steps),
                                           replica(model_, {"integer(width=8,frac=4)", 4, 2e-3}, steps)};
    const auto from_host = open_session(*device_, model_, replicas),
               on_device = open_session(*device_, model_, replicas);
    std::vector<Session::StepResult> expected;
    for (int64_t step = 0; step < steps; ++step)
      expected.push_back(
          from_host->train_step(make_batch(split, std::vector<int64_t>(order.order.begin() + order.first[step],
                                                                       order.order.begin() + order.first[step + 1]))));
    on_device->attach(split, order);
    auto results = on_device->train_steps(9);
    for (const auto& more : on_device->train_steps(steps - 9)) results.push_back(more);
    ASSERT_EQ(results.size(), expected.size());
    for (size_t step = 0; step < results.size(); ++step)
      expect_same_bits({results[step].loss, results[step].norm}, {expected[step].loss, expected[step].norm});
    for (int r = 0; r < 2; ++r) expect_same_bits(everything(*from_host, r), everything(*on_device, r));
  }
}

// Targets that are the labels change no bit; others do, and a replica does not notice its company.
TEST_P(SessionTest, SoftTargetsStandForLabels) {
  constexpr int64_t steps = 6;
  Split split = random_rows({5, 1, 20, 3, 24}, 5);
  StepOrder order;
  for (int64_t step = 0; step < steps; ++step) {
    for (int64_t i = 0; i < 3; ++i) order.order.push_back(static_cast<int32_t>((step + 2 * i) % split.row_count()));
    order.first.push_back(static_cast<int64_t>(order.order.size()));
  }
  const auto run = [&](const std::vector<Replica>& replicas) {
    const auto session = open_session(*device_, model_, replicas);
    session->attach(split, order);
    session->train_steps(steps);
    return everything(*session, 0);
  };
  const Replica one = replica(model_, {"none", 3, 1e-3}, steps);
  const auto labels = run({one});
  const auto classes = static_cast<size_t>(model_.config().classes);
  for (const int32_t label : split.labels)
    for (size_t c = 0; c < classes; ++c) split.targets.push_back(static_cast<size_t>(label) == c);
  expect_same_bits(run({one}), labels);
  for (float& t : split.targets) t = 0.5f * t + 0.5f / static_cast<float>(classes);
  const auto soft = run({one});
  EXPECT_FALSE(soft == labels);
  expect_same_bits(run({one, replica(model_, {"integer(width=8,frac=4)", 4, 2e-3}, steps)}), soft);
}

TEST_P(SessionTest, ARowsLogitsDoNotDependOnItsBatch) {
  const Split split = random_rows({7, 1, 16, 20, 2, 9}, 8);
  for (const std::string& format : family_specs()) {
    SCOPED_TRACE(format);
    const auto session = open_session(*device_, model_, {replica(model_, {format})});
    train(*session, 1);
    const Floats all = session->logits(make_batch(split, std::vector<int64_t>{0, 1, 2, 3, 4, 5}))[0];
    const Floats mixed = session->logits(make_batch(split, std::vector<int64_t>{3, 0, 0}))[0];
    EXPECT_EQ(Floats(&all[9], &all[9] + 3), Floats(&mixed[0], &mixed[0] + 3)) << "row 3 as first of three";
    for (int64_t row = 0; row < 6; ++row) {
      const Floats alone = session->logits(make_batch(split, std::vector<int64_t>{row}))[0];
      EXPECT_EQ(Floats(&all[row * 3], &all[row * 3] + 3), alone) << "row " << row;
    }
  }
}

// Where everything behind a binary_residual Linear is float, the loss is differentiable in gamma and in the last mean
// (no straight-through estimator between): central differences of the float32 loss, good to about 2^-22 / h.
TEST_P(SessionTest, GradientOfGammaAndOfTheLastMean) {
  const std::vector<const Linear*> linears = {&model_.layers[0].key, &model_.layers[1].output, &model_.classifier};
  constexpr int levels = 3;
  constexpr float h = 0x1p-7f;
  std::vector<Replica> replicas(linears.size(), replica(model_, {}));
  for (size_t r = 0; r < linears.size(); ++r)
    replicas[r].formats[linears[r]->index] = parse_linear_spec("binary_residual(levels=3)");
  const auto session = open_session(*device_, model_, replicas);
  const naive::Parameters<double> parameters = random_parameters(model_);
  for (int r = 0; r < session->replicas(); ++r)
    for (const auto& [name, values] : parameters)
      if (!name.ends_with(".quantizer"))
        session->set(r, *model_.parameters().find(name), Floats(values.begin(), values.end()));
  const Batch batch = batch_at(0);
  session->compute_gradients(batch);
  for (int r = 0; r < session->replicas(); ++r)
    for (int i : {levels - 1, 3}) {
      SCOPED_TRACE(linears[r]->name + (i == 3 ? " gamma" : " last mean"));
      const Parameter& p = *linears[r]->trained;
      session->set(r, p, {{0.5f, 0.4f, 0.3f, -0.7f}});
      session->compute_gradients(batch);
      const float gradient = session->gradient(r, p)[i];
      Floats values = session->get(r, p);
      float loss[2];
      for (int side : {0, 1}) {
        Floats moved = values;
        moved[i] += side ? h : -h;
        session->set(r, p, moved);
        loss[side] = session->compute_gradients(batch).loss[r];
      }
      EXPECT_NEAR((loss[1] - loss[0]) / (2 * h), gradient, 0x1p-22 / h + 1e-2 * std::abs(gradient));
      EXPECT_GT(std::abs(gradient), 1e-4);
    }
}

}  // namespace
}  // namespace mpq
