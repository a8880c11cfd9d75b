// Number formats of embedding tables: what is looked up, its gradient, and the bits that must not depend on which rows
// a step touches, on company, or on restarts.
#include <gtest/gtest.h>

#include "app/search_space.h"
#include "nn/model_formats.h"
#include "quant/quantize.h"
#include "tests/op_rows.h"
#include "tests/run_mpq.h"
#include "tests/small_session.h"

namespace mpq {
namespace {

// Of every reach: a value, a row, tiles over rows, the whole table by its largest value, its mean, its least maximum.
const char* const kFormats[] = {"integer(width=6,frac=5)",
                                "block_fp(width=4,exponent=8,bias=127,block=1x8)",
                                "scaled_integer(width=3,per=row)",
                                "block_fp(width=5,exponent=8,bias=127,block=4x4)",
                                "scaled_integer(width=4,scheme=affine,per=tensor)",
                                "ternary(rule=twn,per=tensor)",
                                "block_log(width=4,bias_width=4,block=1x8)",
                                "nvfp4()"};

void train(Session& s, int64_t to) {
  while (s.step() < to) s.train_step(batch_at(s.step()));
}

class EmbeddingFormatsTest : public DeviceTest {
 protected:
  Replica with_tables(const std::string& format, const Wish& wish = {}, int64_t steps = kSteps) const {
    Replica one = replica(model_, wish, steps);
    one.formats.resize(model_.format_rows());
    for (const EmbeddingTable& table : model_.tables())
      one.formats[table.index] = parse_row_format(model_, table.index, format);
    return one;
  }
  // The same model in float, its tables already quantized.
  std::unique_ptr<Session> quantized_by_hand(Session& session, const std::string& format) {
    auto other = open_session(*device_, model_, {replica(model_, {})});
    for (const Parameter& p : model_.parameters().all()) other->set(0, p, session.get(0, p));
    for (const EmbeddingTable& table : model_.tables()) {
      const Shape& s = table.weight->shape;
      Floats values = session.get(0, *table.weight);
      quantize(parse_format(format), Role::weight, {2, {s[0], s[1], 1}}, values.data(), values.data());
      other->set(0, *table.weight, values);
    }
    return other;
  }

  const Bert model_{small};
};
MPQ_ON_EVERY_DEVICE(EmbeddingFormatsTest);

TEST_P(EmbeddingFormatsTest, TheForwardPassLooksUpTheQuantizedTable) {
  for (const char* format : kFormats) {
    SCOPED_TRACE(format);
    const auto session = open_session(*device_, model_, {with_tables(format)});
    const auto by_hand = quantized_by_hand(*session, format);
    expect_same_bits(session->logits(batch_at(1)), by_hand->logits(batch_at(1)));
    EXPECT_NE(session->logits(batch_at(1)), open_session(*device_, model_, {replica(model_, {})})->logits(batch_at(1)));
  }
}

TEST_P(EmbeddingFormatsTest, TheGradientGoesStraightThrough) {
  for (const char* format : kFormats) {
    SCOPED_TRACE(format);
    const auto session = open_session(*device_, model_, {with_tables(format)});
    const auto by_hand = quantized_by_hand(*session, format);
    const auto a = session->compute_gradients(batch_at(1)), b = by_hand->compute_gradients(batch_at(1));
    expect_same_bits({a.loss, a.norm}, {b.loss, b.norm});
    for (const Parameter& p : model_.parameters().all()) {
      SCOPED_TRACE(p.name);
      expect_same_bits({session->gradient(0, p)}, {by_hand->gradient(0, p)});
    }
  }
}

// In shards every step updates and quantizes the whole table. A batch of one row is its first half, and without a clip
// the order of the norm's sum has no say: the rest is the same step, to the bit. Across the end of a window.
TEST_P(EmbeddingFormatsTest, UpdatingOnlyTheRowsOfABatchChangesNoBit) {
  constexpr int64_t steps = 70;
  const Split split = random_rows({5, 1, 9, 3, 7, 2}, 17);
  StepOrder order;
  for (int64_t step = 0; step < steps; ++step) {
    order.order.push_back(static_cast<int32_t>(step * step % 7 % split.row_count()));
    order.first.push_back(step + 1);
  }
  SessionOptions lazy = small_options;
  lazy.clip = 0;
  SessionOptions dense = lazy;
  dense.shards = 2;
  for (const char* format : kFormats) {
    SCOPED_TRACE(format);
    const Replica one = with_tables(format, {.rate = 1e-3}, steps);
    Session whole(*device_, model_, {one}, dense), rows(*device_, model_, {one}, lazy),
        from_host(*device_, model_, {one}, lazy);
    for (Session* session : {&whole, &rows, &from_host}) session->initialise();
    for (Session* session : {&whole, &rows}) {
      session->attach(split, order);
      session->train_steps(steps);
    }
    for (int64_t step = 0; step < steps; ++step)
      from_host.train_step(make_batch(split, std::vector<int64_t>{order.order[step]}));
    expect_same_bits(everything(whole, 0), everything(rows, 0));
    expect_same_bits(everything(whole, 0), everything(from_host, 0));
  }
}

TEST_P(EmbeddingFormatsTest, AReplicaHasTheBitsItHasAlone) {
  std::vector<Replica> replicas = {replica(model_, {.seed = 1}), replica(model_, {"integer(width=8,frac=4)", 2})};
  for (const char* format : kFormats)
    replicas.push_back(with_tables(format, {"integer(width=8,frac=4)", 3 + replicas.size(), 1e-3}));
  replicas.push_back(replica(model_, {"binary_residual(levels=2)", 42, 1e-3}));
  replicas.back().formats.resize(model_.format_rows());
  replicas.back().formats[model_.tables()[1].index].w = parse_format("mxint(width=8,block=32)");
  const auto together = open_session(*device_, model_, replicas);
  train(*together, 5);
  for (int r = 0; r < together->replicas(); ++r) {
    SCOPED_TRACE(r);
    const auto alone = open_session(*device_, model_, {replicas[r]});
    train(*alone, 5);
    expect_same_bits(everything(*together, r), everything(*alone, 0));
  }
}

TEST_P(EmbeddingFormatsTest, KilledAndRestoredHasTheSameBits) {
  for (const char* format : kFormats) {
    SCOPED_TRACE(format);
    const Replica one = with_tables(format, {"integer(width=8,frac=4)"});
    const auto whole = open_session(*device_, model_, {one}), first = open_session(*device_, model_, {one}),
               second = open_session(*device_, model_, {one});
    train(*whole, kSteps), train(*first, 5);
    for (const Parameter& p : model_.parameters().all()) second->set(0, p, first->get(0, p));
    second->restore(0, first->optimizer_state(0));
    train(*second, kSteps);
    expect_same_bits(everything(*whole, 0), everything(*second, 0));
  }
}

TEST_P(EmbeddingFormatsTest, FrozenTablesKeepTheirBits) {
  Bert frozen(small);
  frozen.freeze("embeddings.*_embeddings.weight");
  const auto session = open_session(*device_, frozen, {with_tables("scaled_integer(width=4,per=tensor)")});
  std::vector<Floats> before, after;
  for (const EmbeddingTable& table : frozen.tables()) before.push_back(session->get(0, *table.weight));
  train(*session, 4);
  for (const EmbeddingTable& table : frozen.tables()) after.push_back(session->get(0, *table.weight));
  expect_same_bits(before, after);
}

// quantize_weights of some rows: as in the whole tensor, and the others stay.
TEST_P(EmbeddingFormatsTest, SomeRowsOfATable) {
  constexpr int64_t V = 700, C = 40;
  const std::vector<int32_t> some = {699, 0, 3, 4, 5, 77, 300, 301, 12};
  std::mt19937 engine(5);
  std::normal_distribution<float> normal(0, 0.3f);
  Floats values(V * C);
  for (float& v : values) v = normal(engine);
  std::fill_n(values.begin() + 4 * C, C, 0.0f);
  Rig rig(*device_);
  for (const QuantSpec& spec : known_formats()) {
    if (reach(spec, Role::weight) == Reach::sequence || trained_count(spec) > 0) continue;
    SCOPED_TRACE(to_text(spec));
    rig.reset();
    QuantSlot slot{.specs = rig.array(std::vector{spec}), .stride = 1};
    plan_for(slot, spec);
    const auto item = [&](const QuantizeWeights::Rows& only) {
      return QuantizeWeights::Item{.w = rig.tensor({V, C}, {values}),
                                   .wq = rig.tensor({V, C}, {Floats(V * C, 7.0f)}),
                                   .slot = slot,
                                   .role = Role::weight,
                                   .input = {},
                                   .dw = {},
                                   .dtrained = {},
                                   .only = only};
    };
    const std::array items{item({}),
                           item({rig.array(some), rig.array(std::vector{static_cast<int32_t>(some.size())}), 20})};
    rig.ops().quantize_weights({.items = items, .at_once = true});
    rig.expect_guards_intact();
    const Floats whole = rig.read(items[0].wq), rows = rig.read(items[1].wq);
    Floats expected(V * C, 7.0f);
    for (const int32_t row : some) std::copy_n(whole.begin() + row * C, C, expected.begin() + row * C);
    expect_same_bits({rows}, {expected});
  }
}

TEST(EmbeddingFormats, BitsOfTheWholeModelCountTheTables) {
  const Bert model{BertConfig{}};
  std::vector<LinearSpec> formats(model.linears().size());
  EXPECT_EQ(bits_per_parameter(model, formats), 32);
  formats.resize(model.format_rows());
  for (const EmbeddingTable& table : model.tables())
    formats[table.index] = parse_row_format(model, table.index, "mxfp(exponent=4,mantissa=3,block=32)");
  const double rows = 30522 + 512 + 2, count = static_cast<double>(model.parameters().count());
  EXPECT_DOUBLE_EQ(bits_per_parameter(model, formats), 32 - (32 - 8.25) * rows * 128 / count);
  EXPECT_EQ(bits_per_linear_weight(model, formats), 32);
}

class EmbeddingFormatsCommandTest : public RunMpq {
 protected:
  const std::string data_ = " --data synthetic --rows 160 --max-tokens 32 ";
  const std::string tables_ = " --layer-format 'bert.embeddings.*=integer(width=3,frac=5)' ";
};

TEST_F(EmbeddingFormatsCommandTest, TablesAreTrainedKeptAndSeen) {
  const Outcome trained = mpq("train --json --model 1,16,2,32 --epochs 2 --out {}/model" + data_ + tables_);
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_NE(file("model/mpq.json").find("\"bert.embeddings.word_embeddings\": \"integer(width=3,frac=5)\""),
            std::string::npos);
  const auto loss = [&](const std::string& more) {
    const Outcome eval = mpq("eval --json --checkpoint {}/model" + data_ + more);
    EXPECT_EQ(eval.code, 0) << eval.err;
    return eval.result().at("loss").get<double>();
  };
  const double own = loss("");
  EXPECT_EQ(own, loss(tables_));
  EXPECT_EQ(own, loss("--format none")) << "--format is of Linears";
  EXPECT_NE(own, loss("--layer-format 'embeddings.*=none'"));
  EXPECT_NE(own, loss("--layer-format embeddings.word_embeddings=none"));
  const auto bits = [&](const std::string& more) {
    const auto json = mpq("inspect --json --checkpoint {}/model " + more).result();
    EXPECT_TRUE(json.at("operations")[0].at("format").contains("bert.embeddings.word_embeddings"));
    return json.at("model_bits").get<int64_t>();
  };
  const auto config = nlohmann::json::parse(file("model/config.json"));
  const int64_t rows = config.at("vocab_size").get<int64_t>() + config.at("max_position_embeddings").get<int64_t>() +
                       config.at("type_vocab_size").get<int64_t>();
  EXPECT_EQ(bits("--layer-format 'embeddings.*=none'") - bits(""), (32 - 3) * 16 * rows);
}

TEST_F(EmbeddingFormatsCommandTest, WhatATableCannotTakeIsSaid) {
  const auto refused = [&](const std::string& format) {
    const Outcome outcome = mpq("inspect --layer-format 'bert.embeddings.word_embeddings=" + format + "'");
    EXPECT_EQ(outcome.code, 2) << format;
    return outcome.err;
  };
  EXPECT_NE(refused("x=none;w=integer(width=8,frac=4);b=none").find("is an embedding table"), std::string::npos);
  EXPECT_NE(refused("binary_residual(levels=2)").find("trains"), std::string::npos);
  EXPECT_NE(refused("intger(width=8,frac=4)").find("intger"), std::string::npos);
  const Outcome near = mpq("inspect --layer-format bert.embeddings.word_embedings=none");
  EXPECT_EQ(near.code, 2);
  EXPECT_NE(near.err.find("did you mean bert.embeddings.word_embeddings?"), std::string::npos) << near.err;
}

}  // namespace
}  // namespace mpq
