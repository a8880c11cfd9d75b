// Pruning: specs, quantiles, masks of weights, and what a session does with them; bits as everywhere.
#include <gtest/gtest.h>

#include <cmath>

#include "base/parallel.h"
#include "quant/quantile.h"
#include "quant/tiles.h"
#include "tests/naive/prune.h"
#include "tests/rig.h"
#include "tests/small_session.h"

namespace mpq {
namespace {

PruneSpec weights(const std::string& text) { return parse_prune_spec(text, Role::weight); }
PruneSpec activations(const std::string& text) { return parse_prune_spec(text, Role::activation); }

TEST(PruneSpec, TextComesBack) {
  for (const char* text : {"none", "l1(sparsity=0.5,scope=local)", "l1(sparsity=0.1,scope=global)",
                           "random(sparsity=0.25)", "l1(pattern=2:4)", "random(pattern=1:8)"})
    EXPECT_EQ(to_text(weights(text)), text);
  for (const char* text :
       {"none", "l1(sparsity=0.5,scope=row)", "l1(sparsity=0.5,scope=batch)", "random(sparsity=0.9)"})
    EXPECT_EQ(to_text(activations(text)), text);
  EXPECT_EQ(weights(" l1( sparsity = 0.5 ) ").scope, PruneScope::local);
  EXPECT_EQ(activations("l1(sparsity=0)").scope, PruneScope::row);
  EXPECT_EQ(weights("l1(pattern=2:4)").sparsity, 0.5f);
  EXPECT_LT(weights("l1(sparsity=0.99999999999)").sparsity, 1.0f);
}

TEST(PruneSpec, BadOnesAreRefused) {
  for (const char* text :
       {"l1", "l1()", "l2(sparsity=0.5)", "l1(sparsity=1)", "l1(sparsity=-0.1)", "l1(sparsity=nan)", "l1(sparsity=)",
        "l1(sparsity)", "l1(sparsity=0.5,pattern=2:4)", "random(sparsity=0.5,scope=local)",
        "l1(sparsity=0.5,scope=row)", "l1(pattern=5:4)", "l1(pattern=0:4)", "l1(pattern=2:4:8)", "l1(pattern=2)",
        "l1(pattern=1:65)", "none(sparsity=0.5)", "l1(sparsity=0.5", "l1(share=0.5)"})
    EXPECT_THROW(weights(text), UserError) << text;
  for (const char* text : {"l1(sparsity=0.5,scope=global)", "l1(pattern=2:4)"})
    EXPECT_THROW(activations(text), UserError) << text;
}

float quantile_of(const Floats& values, float q) {
  return quantile(
      q, static_cast<int64_t>(values.size()),
      [&](uint32_t limit) {
        int64_t below = 0;
        for (float v : values) below += order_of(v) < limit;
        return below;
      },
      [&](uint32_t limit) {
        uint32_t least = UINT32_MAX;
        for (float v : values)
          if (order_of(v) >= limit) least = std::min(least, order_of(v));
        return least;
      });
}

TEST(Quantile, IsThatOfSortedValues) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  std::vector<Floats> samples = {{3}, {1, 2}, {0, 0, 0, 5}, Floats(9, 0.25f), {1e-40f, 0, 2, 1e30f}};
  for (const int n : {2, 7, 128, 511, 1000}) {
    Floats values, ties;
    for (int i = 0; i < n; ++i) values.push_back(std::abs(normal(engine)));
    for (int i = 0; i < n; ++i) ties.push_back(0.5f * static_cast<float>(engine() % 4));
    samples.push_back(values), samples.push_back(ties);
  }
  for (const Floats& values : samples)
    for (const float q : {0.0f, 0.1f, 0.25f, 0.3f, 0.5f, 0.7f, 0.9f, 0.999f})
      EXPECT_EQ(quantile_of(values, q), naive::quantile(values, q)) << values.size() << " values, q " << q;
}

TEST(Quantile, InfiniteNeighboursAreNotInterpolated) {
  EXPECT_EQ(quantile_of({1, INFINITY}, 0.5f), 1);
  EXPECT_EQ(quantile_of({INFINITY, INFINITY}, 0.5f), INFINITY);
  EXPECT_EQ(quantile_of({1, NAN}, 0.75f), 1);
  EXPECT_TRUE(stays(NAN, INFINITY)) << "a NaN must not vanish";
  EXPECT_TRUE(stays(0, keep_all));
  EXPECT_FALSE(stays(0, 0));
}

// ---- masks ----

class MasksTest : public testing::Test {
 protected:
  MasksTest() {
    std::mt19937 engine(5);
    std::normal_distribution<float> normal;
    for (const Linear* linear : model_.linears()) {
      // Linears of different size, so that a threshold of all of them is none of one.
      const float scale = 1 + static_cast<float>(linear->index);
      for (int64_t i = 0; i < linear->weight->shape.size(); ++i)
        values_[linear->index].push_back(scale * normal(engine));
    }
  }
  WeightMasks draw(const std::string& spec, uint64_t seed = 1) const {
    return draw_masks(model_, {.weights = weights(spec), .seed = seed}, values_);
  }
  static double kept(const std::vector<uint8_t>& mask) {
    return static_cast<double>(std::count(mask.begin(), mask.end(), 1)) / static_cast<double>(mask.size());
  }
  static double kept(const WeightMasks& masks) {
    std::vector<uint8_t> all;
    for (const auto& mask : masks) all.insert(all.end(), mask.begin(), mask.end());
    return kept(all);
  }

  const Bert model_{small};
  std::vector<Floats> values_{model_.linears().size()};
};

TEST_F(MasksTest, LocalThresholdsAreTorchsQuantiles) {
  for (const float s : {0.1f, 0.5f, 0.9f}) {
    const WeightMasks masks = draw(fmt::format("l1(sparsity={})", s));
    for (size_t i = 0; i < masks.size(); ++i) {
      const float threshold = naive::quantile(naive::magnitudes(values_[i]), s);
      for (size_t k = 0; k < masks[i].size(); ++k) ASSERT_EQ(masks[i][k], std::abs(values_[i][k]) > threshold);
      EXPECT_NEAR(kept(masks[i]), 1 - s, 1.0 / static_cast<double>(masks[i].size()));
    }
  }
}

TEST_F(MasksTest, AGlobalThresholdIsOneForAll) {
  const WeightMasks masks = draw("l1(sparsity=0.5,scope=global)");
  Floats all;
  for (const Floats& v : values_) all.insert(all.end(), v.begin(), v.end());
  const float threshold = naive::quantile(naive::magnitudes(all), 0.5f);
  for (size_t i = 0; i < masks.size(); ++i)
    for (size_t k = 0; k < masks[i].size(); ++k) ASSERT_EQ(masks[i][k], std::abs(values_[i][k]) > threshold);
  EXPECT_NEAR(kept(masks), 0.5, 1e-3);
  EXPECT_LT(kept(masks.front()), 0.2) << "the small weights go first";
}

TEST_F(MasksTest, SparsityZeroTakesNothing) {
  for (const char* spec : {"l1(sparsity=0)", "l1(sparsity=0,scope=global)", "random(sparsity=0)", "l1(pattern=4:4)"})
    EXPECT_EQ(kept(draw(spec)), 1) << spec;
}

TEST_F(MasksTest, EqualWeightsGoTogether) {
  for (Floats& v : values_) std::fill(v.begin(), v.end(), -0.5f);
  EXPECT_EQ(kept(draw("l1(sparsity=0.1)")), 0) << "none is above the threshold, as in torch";
  EXPECT_EQ(kept(draw("l1(pattern=2:4)")), 0.5) << "of equal ones the first stay";
}

TEST_F(MasksTest, TwoOfFourNeighboursStay) {
  const WeightMasks masks = draw("l1(pattern=2:4)"), random = draw("random(pattern=2:4)");
  for (size_t i = 0; i < masks.size(); ++i)
    for (size_t at = 0; at < masks[i].size(); at += 4) {
      Floats sorted = naive::magnitudes(Floats(&values_[i][at], &values_[i][at] + 4));
      std::sort(sorted.begin(), sorted.end());
      for (size_t k = at; k < at + 4; ++k) ASSERT_EQ(masks[i][k], std::abs(values_[i][k]) >= sorted[2]);
      ASSERT_EQ(random[i][at] + random[i][at + 1] + random[i][at + 2] + random[i][at + 3], 2);
    }
  EXPECT_NE(masks, random);
}

TEST_F(MasksTest, APatternMustDivideTheInputs) {
  EXPECT_THROW(draw("l1(pattern=2:5)"), UserError);  // of 16
}

TEST_F(MasksTest, RandomOnesGoByRateSeedAndLinear) {
  const WeightMasks masks = draw("random(sparsity=0.3)");
  EXPECT_NEAR(kept(masks), 0.7, 4 * std::sqrt(0.3 * 0.7 / 5000)) << "of more than 5,000";
  EXPECT_EQ(masks, draw("random(sparsity=0.3)"));
  EXPECT_NE(masks, draw("random(sparsity=0.3)", 2));
  EXPECT_NE(masks[0], masks[1]) << "query and key have one shape";
}

TEST_F(MasksTest, OnlyTheLinearsAskedFor) {
  Pruning pruning{.weights = weights("l1(sparsity=0.5,scope=global)"), .linears = std::vector<bool>(14, false)};
  pruning.linears[3] = pruning.linears[5] = true;
  const WeightMasks masks = draw_masks(model_, pruning, values_);
  for (size_t i = 0; i < masks.size(); ++i) EXPECT_EQ(masks[i].empty(), i != 3 && i != 5);
  EXPECT_NEAR(kept(masks), 0.5, 1e-2);
}

// ---- activations ----

// Rows of every width a device has a way of its own for, with ties; the same bits everywhere, as sorted.
class PruneOpTest : public DeviceTest {};
MPQ_ON_EVERY_DEVICE(PruneOpTest);

TEST_P(PruneOpTest, ThresholdsAreTheQuantilesToTheBit) {
  Rig rig(*device_);
  for (const int C : {1, 5, 100, 128, 200, 300, 900, 2048, 3072})
    for (const float s : {0.0f, 0.1f, 0.5f, 0.9f, 0.999f}) {
      rig.reset();
      const naive::Rows rows({2, 1, 3});
      std::mt19937 engine(C);
      std::normal_distribution<float> normal;
      Floats x;
      for (int64_t i = 0; i < rows.count() * C; ++i)
        x.push_back(i / C % 2 ? 0.25f * static_cast<float>(engine() % 7) - 0.75f : normal(engine));
      const PruneSpec spec{.method = PruneMethod::l1, .sparsity = s};
      const Tensor pruned = rig.empty({rows.count(), C}), threshold = rig.empty({rows.count()});
      const Prune op{.ragged = {rig.array(rows.starts), rows.sequences(), rows.count(), 3},
                     .slot = {rig.array(std::vector{spec}), 0},
                     .draw = {},
                     .x = rig.tensor({rows.count(), C}, {x}),
                     .threshold = threshold,
                     .pruned = pruned};
      rig.ops().prune({&op, 1});
      rig.expect_guards_intact();
      EXPECT_EQ(rig.read(pruned), naive::prune(spec, x, x, rows, C, {}, {0, 1, 2})) << C << " columns, sparsity " << s;
      for (int64_t row = 0; row < rows.count() && s > 0; ++row)
        EXPECT_EQ(rig.read(threshold)[row],
                  naive::quantile(naive::magnitudes(Floats(&x[row * C], &x[row * C] + C)), s));
    }
}

TEST_P(PruneOpTest, AThresholdOfTheBatchIsTheQuantileOfAllRows) {
  Rig rig(*device_);
  for (const int C : {3, 128, 300}) {
    rig.reset();
    const naive::Rows rows({2, 1, 30});
    std::vector<Floats> x(2);
    std::mt19937 engine(C);
    std::normal_distribution<float> normal;
    for (Floats& values : x)
      for (int64_t i = 0; i < rows.count() * C; ++i) values.push_back(normal(engine));
    const std::vector<PruneSpec> specs = {activations("l1(sparsity=0.3,scope=batch)"), activations("l1(sparsity=0.3)")};
    const Tensor pruned = rig.empty({rows.count(), C}, 2);
    const Prune op{.ragged = {rig.array(rows.starts), rows.sequences(), rows.count(), 30},
                   .slot = {rig.array(specs), 1},
                   .draw = {},
                   .x = rig.tensor({rows.count(), C}, x),
                   .threshold = rig.empty({rows.count()}, 2),
                   .batch_threshold = rig.empty({1}, 2),
                   .pruned = pruned};
    rig.ops().prune({&op, 1});
    rig.expect_guards_intact();
    const float threshold = naive::quantile(naive::magnitudes(x[0]), 0.3f);
    Floats expected = x[0];
    for (float& v : expected)
      if (std::abs(v) <= threshold) v = 0;
    EXPECT_EQ(rig.read(pruned, 0), expected) << C << " columns";
    EXPECT_EQ(rig.read(pruned, 1), naive::prune(specs[1], x[1], x[1], rows, C, {}, {0, 1, 2}));
  }
}

// ---- sessions ----

struct PruneWish {
  std::string weights = "none", activations = "none", format = "none";
  uint64_t seed = 42;
};
Replica pruned(const Bert& model, const PruneWish& w, int64_t steps = kSteps) {
  Replica r = replica(model, {w.format, w.seed, 3e-3}, steps);
  r.pruning = {.weights = weights(w.weights), .activations = activations(w.activations), .seed = w.seed};
  return r;
}
std::unique_ptr<Session> open_pruned(Device& device, const Bert& model, std::vector<Replica> replicas,
                                     const SessionOptions& options = small_options) {
  auto session = std::make_unique<Session>(device, model, std::move(replicas), options);
  for (int r = 0; r < session->replicas(); ++r) {
    session->initialise(r);
    session->prune(r);
  }
  return session;
}
void train(Session& s, int64_t to) {
  while (s.step() < to) s.train_step(batch_at(s.step()));
}

const std::vector<PruneWish> wishes = {
    {"l1(sparsity=0.5)", "none"},
    {"none", "l1(sparsity=0.5)"},
    {"none", "random(sparsity=0.3)"},
    {"random(sparsity=0.7)", "l1(sparsity=0.25)", "integer(width=8,frac=4)", 7},
    {"l1(sparsity=0.4,scope=global)", "random(sparsity=0.1)", "block_log(width=4,bias_width=4,block=1x16)", 8},
    {"l1(pattern=2:4)", "l1(sparsity=0.9)", "binary_residual(levels=2)", 9},
    {"l1(sparsity=0.2)", "l1(sparsity=0.5)", "block_fp(width=6,exponent=8,bias=127,block=*x16)", 10},
};

class PruneSessionTest : public DeviceTest {
 protected:
  const Bert model_{small};
};
MPQ_ON_EVERY_DEVICE(PruneSessionTest);

TEST_P(PruneSessionTest, MaskedWeightsStayZeroAndOthersLearn) {
  for (const char* format : {"none", "integer(width=8,frac=4)", "log(width=8,bias=7)"}) {
    SCOPED_TRACE(format);
    const auto session = open_pruned(*device_, model_, {pruned(model_, {"l1(sparsity=0.5)", "none", format})});
    const WeightMasks before = session->masks(0);
    std::vector<Floats> start;
    for (const Linear* linear : model_.linears()) start.push_back(session->get(0, *linear->weight));
    train(*session, 6);
    EXPECT_EQ(session->masks(0), before);
    const OptimizerState state = session->optimizer_state(0);
    for (const Linear* linear : model_.linears()) {
      SCOPED_TRACE(linear->name);
      const Floats now = session->get(0, *linear->weight), gradient = session->gradient(0, *linear->weight);
      const auto& mask = before[linear->index];
      int64_t learnt = 0;
      for (size_t i = 0; i < now.size(); ++i) {
        const size_t at = static_cast<size_t>(linear->weight->offset) + i;
        if (mask[i] == 0) {
          ASSERT_EQ(to_bits(now[i]), 0u) << "weight " << i;
          ASSERT_TRUE(gradient[i] == 0 && state.m[at] == 0 && state.v[at] == 0);
        }
        learnt += mask[i] == 1 && now[i] != start[linear->index][i];
      }
      EXPECT_GT(learnt, std::count(mask.begin(), mask.end(), 1) / 2);
    }
  }
}

// A weight format without a zero (binary: 0 becomes 1) does not bring pruned weights back.
TEST_P(PruneSessionTest, APrunedWeightIsZeroInTheProductToo) {
  const Batch batch = batch_at(1);
  const auto session = open_pruned(*device_, model_, {pruned(model_, {"random(sparsity=0.999)", "none", "binary"})});
  for (const Linear* linear : model_.linears()) {
    auto none = session->masks(0);
    for (auto& mask : none) std::fill(mask.begin(), mask.end(), 0);
    session->set_masks(0, none);
    session->set(0, *linear->bias, Floats(linear->bias->shape.size(), linear->index + 1 == 14 ? 0.5f : 0.0f));
  }
  EXPECT_EQ(session->logits(batch)[0], Floats(4 * 3, 0.5f));
}

TEST_P(PruneSessionTest, AReplicaHasTheBitsItHasAlone) {
  std::vector<Replica> replicas = {replica(model_, {.seed = 3})};  // one that prunes nothing
  for (const PruneWish& w : wishes) replicas.push_back(pruned(model_, w));
  replicas.push_back(replicas[2]);
  replicas.back().pruning.linears = std::vector<bool>(model_.linears().size(), false);
  replicas.back().pruning.linears[model_.layers[0].value.index] = true;  // one of query, key and value
  const auto together = open_pruned(*device_, model_, replicas);
  train(*together, 5);
  for (int r = 0; r < together->replicas(); ++r) {
    SCOPED_TRACE(to_text(replicas[r].pruning, model_));
    const auto alone = open_pruned(*device_, model_, {replicas[r]});
    train(*alone, 5);
    expect_same_bits(everything(*together, r), everything(*alone, 0));
  }
}

// The labs' threshold of a whole batch: bits depend on the batch, and on nothing else.
TEST_P(PruneSessionTest, AThresholdOfTheBatchDependsOnTheBatchOnly) {
  const Replica one = pruned(model_, {"l1(sparsity=0.5)", "l1(sparsity=0.5,scope=batch)"});
  const auto alone = open_pruned(*device_, model_, {one}),
             among = open_pruned(*device_, model_, {pruned(model_, wishes[2]), one, replica(model_, {.seed = 3})}),
             without = open_pruned(*device_, model_, {replica(model_, {.seed = 3})});
  train(*alone, 4), train(*among, 4), train(*without, 4);
  expect_same_bits(everything(*among, 1), everything(*alone, 0));
  // Company has the last layer run on all rows; a CPU's sums do not notice.
  if (is_cpu()) expect_same_bits(everything(*among, 2), everything(*without, 0));
  const Split split = random_rows({7, 1, 16, 20, 2, 9}, 8);
  const Floats all = alone->logits(make_batch(split, std::vector<int64_t>{0, 1, 2, 3, 4, 5}))[0];
  const Floats first = alone->logits(make_batch(split, std::vector<int64_t>{0}))[0];
  EXPECT_NE(Floats(&all[0], &all[3]), first);
}

TEST_P(PruneSessionTest, EachPrunesSomething) {
  const auto dense = open_session(*device_, model_, {replica(model_, {})});
  const Floats logits = dense->logits(batch_at(1))[0];
  for (const PruneWish& w : {wishes[0], wishes[1], wishes[2]}) {
    const auto session = open_pruned(*device_, model_, {pruned(model_, w)});
    EXPECT_NE(session->logits(batch_at(1))[0], logits) << w.weights << " " << w.activations;
  }
}

TEST_P(PruneSessionTest, ARowsLogitsDoNotDependOnItsBatch) {
  const Split split = random_rows({7, 1, 16, 20, 2, 9}, 8);
  for (const PruneWish& w : wishes) {
    SCOPED_TRACE(w.activations + " " + w.format);
    const auto session = open_pruned(*device_, model_, {pruned(model_, w)});
    train(*session, 1);
    const Floats all = session->logits(make_batch(split, std::vector<int64_t>{0, 1, 2, 3, 4, 5}))[0];
    for (const std::vector<int64_t>& rows : {std::vector<int64_t>{3, 5, 0}, {0}, {1}, {2}, {3}, {4}, {5}}) {
      const Floats some = session->logits(make_batch(split, rows))[0];
      for (size_t i = 0; i < rows.size(); ++i)
        EXPECT_EQ(Floats(&all[rows[i] * 3], &all[rows[i] * 3] + 3), Floats(&some[i * 3], &some[i * 3] + 3));
    }
    EXPECT_EQ(session->logits(split, {})[0], all) << "in eval_rows' batches";
  }
}

TEST_P(PruneSessionTest, KilledAndRestoredHasTheSameBits) {
  for (const PruneWish& w : wishes) {
    SCOPED_TRACE(w.weights + " " + w.activations);
    const auto whole = open_pruned(*device_, model_, {pruned(model_, w)});
    train(*whole, kSteps);
    const auto first = open_pruned(*device_, model_, {pruned(model_, w)});
    train(*first, 5);
    Session second(*device_, model_, {pruned(model_, w)}, small_options);
    for (const Parameter& p : model_.parameters().all()) second.set(0, p, first->get(0, p));
    second.set_masks(0, first->masks(0));
    second.restore(0, first->optimizer_state(0));
    train(second, kSteps);
    expect_same_bits(everything(*whole, 0), everything(second, 0));
  }
}

// Where a device has graphs these steps are recorded; in shards, random masks go by the whole batch's numbers.
TEST_P(PruneSessionTest, StepsOnADataSetHaveTheBitsOfBatchesFromTheHost) {
  constexpr int64_t steps = 9;
  const Split split = random_rows({5, 1, 20, 3, 24}, 17);
  StepOrder order;
  for (int64_t step = 0; step < steps; ++step) {
    for (int64_t i = 0; i < 1 + step % 4; ++i) order.order.push_back(static_cast<int32_t>((step + 3 * i) % 5));
    order.first.push_back(static_cast<int64_t>(order.order.size()));
  }
  std::vector<Replica> replicas;
  for (const PruneWish& w : wishes) replicas.push_back(pruned(model_, w, steps));
  const auto from_host = open_pruned(*device_, model_, replicas), on_device = open_pruned(*device_, model_, replicas);
  for (int64_t step = 0; step < steps; ++step)
    from_host->train_step(make_batch(split, std::vector<int64_t>(order.order.begin() + order.first[step],
                                                                 order.order.begin() + order.first[step + 1])));
  on_device->attach(split, order);
  on_device->train_steps(steps);
  for (int r = 0; r < from_host->replicas(); ++r)
    expect_same_bits(everything(*from_host, r), everything(*on_device, r));
}

// With random masks, which do not depend on values, the loss is differentiable: central differences in float32.
TEST_P(PruneSessionTest, GradientThroughPrunedInputs) {
  constexpr float h = 0x1p-7f;
  const auto session =
      open_pruned(*device_, model_, {pruned(model_, {"random(sparsity=0.2)", "random(sparsity=0.3)"})});
  const auto parameters = random_parameters(model_);
  const WeightMasks masks = session->masks(0);
  set_all(*session, parameters);
  session->set_masks(0, masks);
  const Batch batch = batch_at(0);
  session->compute_gradients(batch);
  const Bert& m = model_;
  for (const Parameter* p : {m.embedding_beta, m.layers[0].value.bias, m.layers[0].attention_beta,
                             m.layers[0].intermediate.bias, m.layers[0].output_beta, m.layers[1].query.bias,
                             m.layers[1].key.weight, m.layers[1].output.weight, m.pooler.weight}) {
    SCOPED_TRACE(p->name);
    const Floats values = session->get(0, *p), gradient = session->gradient(0, *p);
    size_t i = 0;  // the element with the steepest slope
    for (size_t k = 0; k < gradient.size(); ++k)
      if (std::abs(gradient[k]) > std::abs(gradient[i])) i = k;
    float loss[2];
    for (int side : {0, 1}) {
      Floats moved = values;
      moved[i] += side ? h : -h;
      session->set(0, *p, moved);
      loss[side] = session->compute_gradients(batch).loss[0];
    }
    session->set(0, *p, values);
    EXPECT_NEAR((loss[1] - loss[0]) / (2 * h), gradient[i], 0x1p-22 / h + 2e-2 * std::abs(gradient[i]));
    EXPECT_GT(std::abs(gradient[i]), 1e-4);
  }
}

class CpuPruneSessionTest : public PruneSessionTest {};
MPQ_ON_EVERY_CPU(CpuPruneSessionTest);

TEST_P(CpuPruneSessionTest, ThreadsChangeNoBit) {
  const int before = threads();
  std::vector<Replica> replicas;
  for (const PruneWish& w : wishes) replicas.push_back(pruned(model_, w));
  std::vector<std::vector<Floats>> one;
  for (int n : {1, 3}) {
    set_threads(n);
    const auto session = open_pruned(*device_, model_, replicas);
    train(*session, 3);
    for (int r = 0; r < session->replicas(); ++r)
      if (n == 1)
        one.push_back(everything(*session, r));
      else
        expect_same_bits(one[r], everything(*session, r));
  }
  set_threads(before);
}

}  // namespace
}  // namespace mpq
