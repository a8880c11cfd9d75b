// Low-rank adapters in whole steps: their gradients, their frozen base, replicas of several ranks, what resuming and
// merging keep.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/small_session.h"
#include "train/adapter_folder.h"

namespace mpq {
namespace {

// Some behind the projections, some with an activation, some read by [CLS] rows only.
const std::vector<std::string> kTargets = {"query", "value", "intermediate.dense", "attention.output.dense", "pooler"};

AdapterPlan plan_for(const std::vector<std::string>& targets, int most_rank, float dropout = 0.1f) {
  return {adapter_targets(Bert(small), targets), most_rank, dropout};
}

class LoraTest : public DeviceTest {
 protected:
  static Replica lora_replica(const Bert& model, const Lora& lora, const Wish& wish = {}) {
    Replica r = replica(model, wish);
    r.lora = lora;
    r.schedule.warmup_steps = 0;
    return r;
  }
  // Of a base that is the same for all; b is random too if `shaken`, so that every gradient matters.
  std::unique_ptr<Session> open(const Bert& model, std::vector<Replica> replicas, bool shaken = false,
                                SessionOptions options = small_options) {
    auto session = std::make_unique<Session>(*device_, model, std::move(replicas), options);
    const auto base = random_parameters(Bert(small));
    for (int r = 0; r < session->replicas(); ++r) {
      for (const auto& [name, values] : base)
        if (!name.ends_with(".quantizer"))
          session->set(r, *model.parameters().find(name), Floats(values.begin(), values.end()));
      if (shaken) session->set(r, *model.adapters, shaken_adapters(*session, r));
    }
    return session;
  }
  static Floats shaken_adapters(Session& session, int r) {
    Floats values = session.get(r, *session.model().adapters);
    std::mt19937 engine(5);
    std::normal_distribution<float> normal(0, 0.2f);
    const auto used = adapter_count(session.model(), session.replica(r).lora.rank);
    for (int64_t i = 0; i < used; ++i) values[i] += normal(engine);
    return values;
  }
  static void train(Session& session, int64_t steps) {
    while (session.step() < steps) session.train_step(batch_at(session.step()));
  }
};
MPQ_ON_EVERY_DEVICE(LoraTest);

TEST_P(LoraTest, UntrainedAdaptersSayWhatTheBaseSays) {
  const Bert plain(small), adapted(small, plan_for(kTargets, 4));
  const auto base = open(plain, {replica(plain, {})}), with = open(adapted, {lora_replica(adapted, {4, 8})});
  EXPECT_EQ(base->logits(batch_at(0)), with->logits(batch_at(0)));
}

// Every gradient of a step against the naive BERT's, in double: with dropout, base and adapters trained together.
TEST_P(LoraTest, GradientOfTheWholeModel) {
  for (const std::vector<std::string>& targets : {kTargets, {"*"}}) {
    const Bert model(small, plan_for(targets, 5, 0.2f));
    const Lora lora{3, 6};
    const auto session = open(model, {lora_replica(model, lora)}, true);
    const Batch batch = batch_at(0);
    session->compute_gradients(batch);
    auto exact_in = random_parameters(Bert(small));
    const Floats values = session->get(0, *model.adapters);
    exact_in["lora_scale"] = {lora.scale()}, exact_in["lora_dropout"] = {0.2f};
    for (const AdapterPlace& place : adapter_places(model, lora.rank)) {
      const auto a = values.begin() + place.a, b = values.begin() + place.b;
      exact_in[place.linear->name + ".lora_A"].assign(a, a + lora.rank * place.K);
      exact_in[place.linear->name + ".lora_B"].assign(b, b + lora.rank * place.N);
    }
    naive::Parameters<float> careless_in;
    for (const auto& [name, of] : exact_in) careless_in[name].assign(of.begin(), of.end());
    const auto exact = naive_pass(exact_in, batch).gradient();
    const auto careless = naive_pass(careless_in, batch).gradient();
    const Floats found = session->gradient(0, *model.adapters);
    for (const AdapterPlace& place : adapter_places(model, lora.rank)) {
      const std::string& linear = place.linear->name;
      // All four are sums of the same output's gradient: they share one scale, and what float32 loses on its way there.
      double top = 0, lost = 0;
      for (const char* name : {".weight", ".bias", ".lora_A", ".lora_B"}) {
        top = std::max(top, largest(exact.at(linear + name)));
        lost = std::max(lost, largest_difference(careless.at(linear + name), exact.at(linear + name)));
      }
      for (const auto& [name, at, count] :
           {std::tuple{".lora_A", place.a, lora.rank * place.K}, {".lora_B", place.b, lora.rank * place.N}}) {
        const auto& truth = exact.at(linear + name);
        const double allowed = 3 * lost + 4 * 0x1p-23 * top;  // two products in a row, where a weight has one
        const Floats mine(found.begin() + at, found.begin() + at + count);
        EXPECT_LE(largest_difference(mine, truth), allowed) << linear << name;
      }
    }
    for (const char* name : {"classifier.weight", "bert.encoder.layer.0.attention.self.key.weight",
                             "bert.embeddings.LayerNorm.weight", "bert.encoder.layer.0.output.dense.weight"}) {
      const double allowed =
          2 * largest_difference(careless.at(name), exact.at(name)) + 4 * 0x1p-23 * largest(exact.at(name));
      EXPECT_LE(largest_difference(session->gradient(0, *model.parameters().find(name)), exact.at(name)), allowed)
          << name;
    }
    EXPECT_TRUE(
        std::all_of(found.begin() + adapter_count(model, lora.rank), found.end(), [](float g) { return g == 0; }));
  }
}

TEST_P(LoraTest, TheBaseKeepsItsBits) {
  for (const char* format :
       {"none", "integer(width=8,frac=5)", "binary_residual(levels=2)", "block_log(width=5,bias_width=4,block=1x8)"}) {
    SCOPED_TRACE(format);
    Bert model(small, plan_for(kTargets, 4));
    freeze_base(model);
    const auto before = open(model, {lora_replica(model, {4, 8}, {.format = format})}),
               after = open(model, {lora_replica(model, {4, 8}, {.format = format})});
    train(*after, 4);
    for (const Parameter& p : model.parameters().all()) {
      const bool trains = &p == model.adapters || p.name == "classifier.weight" || p.name == "classifier.bias";
      if (trains)
        EXPECT_NE(after->get(0, p), before->get(0, p)) << p.name;
      else
        expect_same_bits({after->get(0, p)}, {before->get(0, p)});
    }
    EXPECT_NE(after->logits(batch_at(99)), before->logits(batch_at(99)));
  }
}

// Ranks, scales, seeds and formats of their own. What lies behind a smaller one's numbers stays zero.
TEST_P(LoraTest, AReplicaAloneIsTheReplicaAmongOthers) {
  Bert model(small, plan_for(kTargets, 7));
  freeze_base(model);
  const std::vector<Replica> all = {lora_replica(model, {7, 4}), lora_replica(model, {2, 16}, {.seed = 7}),
                                    lora_replica(model, {5, 5}, {.format = "integer(width=6,frac=4)", .rate = 3e-3})};
  const auto together = open(model, all);
  train(*together, 6);
  for (int r = 0; r < 3; ++r) {
    Bert own(small, plan_for(kTargets, all[r].lora.rank));
    freeze_base(own);
    const auto alone = open(own, {all[r]});
    train(*alone, 6);
    Floats adapters = together->get(r, *model.adapters);
    const int64_t used = adapter_count(model, all[r].lora.rank);
    EXPECT_TRUE(std::all_of(adapters.begin() + used, adapters.end(), [](float v) { return v == 0; }));
    adapters.resize(used);
    expect_same_bits({adapters}, {alone->get(0, *own.adapters)});
    for (const char* name : {"classifier.weight", "classifier.bias"})
      expect_same_bits({together->get(r, *model.parameters().find(name))},
                       {alone->get(0, *own.parameters().find(name))});
    expect_same_bits({together->logits(batch_at(99))[r]}, {alone->logits(batch_at(99))[0]});
  }
}

TEST_P(LoraTest, StepsOnADataSetHaveTheBitsOfBatchesFromTheHost) {
  Bert model(small, plan_for(kTargets, 4));
  freeze_base(model);
  const Split split = random_rows({5, 1, 20, 9, 3, 7}, 1);
  const auto attached = open(model, {lora_replica(model, {3, 6})}),
             by_hand = open(model, {lora_replica(model, {3, 6})});
  attached->attach(split, {.order = {0, 1, 2, 3, 4, 5}, .first = {0, 3, 6}});
  attached->train_steps(2);
  for (const std::vector<int64_t>& rows : {std::vector<int64_t>{0, 1, 2}, {3, 4, 5}})
    by_hand->train_step(make_batch(split, rows));
  expect_same_bits(everything(*attached, 0), everything(*by_hand, 0));
}

TEST_P(LoraTest, InterruptedIsTheSame) {
  Bert model(small, plan_for(kTargets, 4));
  freeze_base(model);
  const std::vector<Replica> replicas = {lora_replica(model, {4, 8}), lora_replica(model, {1, 8}, {.seed = 3})};
  const auto straight = open(model, replicas), first = open(model, replicas), second = open(model, replicas);
  train(*straight, 6), train(*first, 3);
  for (int r : {0, 1}) {
    for (const Parameter& p : model.parameters().all()) second->set(r, p, first->get(r, p));
    second->restore(r, first->optimizer_state(r));
  }
  train(*second, 6);
  for (int r : {0, 1}) expect_same_bits(everything(*straight, r), everything(*second, r));
}

TEST_P(LoraTest, InShardsToo) {
  Bert model(small, plan_for(kTargets, 4));
  freeze_base(model);
  SessionOptions options = small_options;
  options.shards = 2;
  const auto session = open(model, {lora_replica(model, {2, 4})}, false, options);
  const Floats word = session->get(0, *model.word), adapters = session->get(0, *model.adapters);
  session->attach(random_rows({5, 1, 20, 9, 3, 7}, 1), {.order = {0, 1, 2, 3, 4, 5}, .first = {0, 3, 6}});
  session->train_steps(2);
  expect_same_bits({session->get(0, *model.word)}, {word});
  const Floats after = session->get(0, *model.adapters);
  EXPECT_NE(after, adapters);
  EXPECT_TRUE(std::all_of(after.begin() + adapter_count(model, 2), after.end(), [](float v) { return v == 0; }));
}

// The sum w + b a rounds once an element, each product of a logit on its own.
TEST_P(LoraTest, MergedIsTheSameFunction) {
  for (const char* format : {"none", "x=none;w=none;b=none;y=integer(width=8,frac=5)"}) {
    Bert model(small, plan_for({"*"}, 4));
    const Bert plain(small);
    const auto session = open(model, {lora_replica(model, {3, 6}, {.format = format})}, true);
    const auto merged = std::make_unique<Session>(*device_, plain, std::vector{replica(plain, {})}, small_options);
    merge_adapters(*session, 0, *merged);
    const Floats with = session->logits(batch_at(0))[0], folded = merged->logits(batch_at(0))[0];
    double top = 0, distance = 0;
    for (size_t i = 0; i < with.size(); ++i)
      top = std::max(top, std::abs(double{folded[i]})),
      distance = std::max(distance, std::abs(double{with[i]} - folded[i]));
    if (format == std::string("none"))
      EXPECT_LE(distance, 64 * 0x1p-23 * top);
    else
      EXPECT_GT(distance, 1e-3 * top) << "an adapter joins behind the format of the product's output";
    expect_same_bits({merged->get(0, *plain.word)}, {session->get(0, *model.word)});
  }
}

TEST(AdapterTargets, ByPartsOfNamesAndPatterns) {
  const Bert model(small);
  const auto count = [&](const std::vector<std::string>& targets) { return adapter_targets(model, targets).size(); };
  EXPECT_EQ(count({"query"}), 2u);
  EXPECT_EQ(count({"query", "value"}), 4u);
  EXPECT_EQ(count({"attention.output.dense"}), 2u);
  EXPECT_EQ(count({"output.dense"}), 4u);  // as in peft: attention.output.dense ends so too
  EXPECT_EQ(count({"layer.0"}), 6u);
  EXPECT_EQ(count({"encoder.*.key"}), 2u);
  EXPECT_EQ(count({"pooler"}), 1u);
  EXPECT_EQ(count({"*"}), 13u);  // never the classifier
  for (const char* target : {"classifier", "uery", "querry", "", "layer.2"})
    EXPECT_THROW(adapter_targets(model, {"query", target}), UserError) << target;
}

}  // namespace
}  // namespace mpq
