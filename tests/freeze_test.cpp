// Frozen parameters keep their bits, and the others do not notice.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/small_session.h"

namespace mpq {
namespace {

TEST(NamePattern, GoesOverDotsAndMayLeaveTheModelAway) {
  EXPECT_TRUE(matches("bert.embeddings*", "bert.embeddings.LayerNorm.bias"));
  EXPECT_TRUE(matches("embeddings*", "bert.embeddings.LayerNorm.bias"));
  EXPECT_TRUE(matches("encoder.*.query", "bert.encoder.layer.0.attention.self.query"));
  EXPECT_TRUE(matches("encoder.layer.[01].*", "bert.encoder.layer.1.output.dense"));
  EXPECT_FALSE(matches("encoder.*.query", "bert.encoder.layer.0.attention.self.query.weight"));
  EXPECT_FALSE(matches("layer.0*", "bert.encoder.layer.0.output.dense"));
  EXPECT_FALSE(matches("embeddings*", "classifier.bert.embeddings"));
}

class FreezeTest : public DeviceTest {
 protected:
  static constexpr const char* kBinary = "binary_residual(levels=2)";

  std::unique_ptr<Session> trained(const Bert& model, std::vector<Replica> replicas, int64_t steps, double clip) {
    SessionOptions options = small_options;
    options.clip = clip;
    for (Replica& r : replicas) r.schedule.warmup_steps = 0;  // the first step moves
    auto session = std::make_unique<Session>(*device_, model, std::move(replicas), options);
    session->initialise();
    while (session->step() < steps) session->train_step(batch_at(session->step()));
    return session;
  }
};
MPQ_ON_EVERY_DEVICE(FreezeTest);

// Without clipping a first step changes every parameter by its own gradient alone: what is trained gets the bits that
// it gets where everything is.
TEST_P(FreezeTest, OthersTakeTheStepThatTheyTakeAnyway) {
  const Bert whole(small);
  for (const char* format : {"none", kBinary})
    for (const std::vector<std::string>& patterns :
         std::vector<std::vector<std::string>>{{"embeddings*"},
                                               {"*word_embeddings*"},
                                               {"*LayerNorm.weight"},
                                               {"*.bias"},
                                               {"*.query*", "*.key.weight"},
                                               {"*dense.weight"},
                                               {"*.quantizer"},
                                               {"embeddings*", "encoder.layer.0*"},
                                               {"bert.*"}}) {
      SCOPED_TRACE(format + (" " + patterns[0]));
      Bert part(small);
      for (const std::string& pattern : patterns) ASSERT_GT(part.freeze(pattern), 0);
      const auto a = trained(whole, {replica(whole, {format})}, 1, 0),
                 b = trained(part, {replica(part, {format})}, 1, 0);
      const auto start = trained(whole, {replica(whole, {format})}, 0, 0);
      const OptimizerState state = b->optimizer_state(0), everywhere = a->optimizer_state(0);
      double squares = 0;
      for (const Parameter& p : part.parameters().all()) {
        const Parameter& same = *whole.parameters().find(p.name);
        expect_same_bits({b->get(0, p)}, {(p.frozen ? start : a)->get(0, same)});
        const auto m = state.m.begin() + p.offset, m_everywhere = everywhere.m.begin() + p.offset;
        if (!p.frozen) expect_same_bits({{m, m + p.shape.size()}}, {{m_everywhere, m_everywhere + p.shape.size()}});
        EXPECT_TRUE(!p.frozen || std::all_of(m, m + p.shape.size(), [](float x) { return x == 0; })) << p.name;
        // m = 0.1 g after one step
        for (auto at = m; at != m + p.shape.size(); ++at) squares += std::pow(*at / 0.1, 2);
      }
      const Session::StepResult step = trained(part, {replica(part, {format})}, 0, 0)->compute_gradients(batch_at(0));
      EXPECT_NEAR(step.norm[0], std::sqrt(squares), 1e-4 * std::sqrt(squares));
    }
}

TEST_P(FreezeTest, FrozenParametersKeepTheirBits) {
  for (const char* format : {"none", kBinary})
    for (const char* pattern : {"embeddings*", "*word_embeddings*", "bert.*", "encoder*", "classifier*"}) {
      SCOPED_TRACE(pattern);
      Bert model(small);
      ASSERT_GT(model.freeze(pattern), 0);
      const auto before = trained(model, {replica(model, {format})}, 0, 1),
                 after = trained(model, {replica(model, {format})}, 6, 1);
      for (const Parameter& p : model.parameters().all()) {
        if (p.frozen) expect_same_bits({after->get(0, p)}, {before->get(0, p)});
        if (p.frozen || !p.name.ends_with(".weight")) continue;
        EXPECT_NE(after->get(0, p), before->get(0, p)) << p.name;
      }
    }
}

// The features below a frozen encoder never change without dropout: training the classifier is logistic regression.
TEST_P(FreezeTest, TheClassifierAloneIsLogisticRegressionOnTheFeatures) {
  BertConfig config = small;
  config.hidden_dropout = config.attention_dropout = 0;
  Bert model(config);
  model.freeze("bert.*");
  const Batch batch = batch_at(0);
  const auto session = open_session(*device_, model, {replica(model, {})});
  const auto first = session->logits(batch)[0];
  const Session::StepResult step = session->compute_gradients(batch);
  const Floats dbias = session->gradient(0, *model.classifier.bias),
               dweight = session->gradient(0, *model.classifier.weight);
  const auto B = static_cast<int64_t>(batch.labels.size()), n = int64_t{config.classes};
  double squares = 0;
  for (int64_t c = 0; c < n; ++c) {
    double expected = 0;
    for (int64_t b = 0; b < B; ++b) {
      double sum = 0;
      for (int64_t k = 0; k < n; ++k) sum += std::exp(double{first[b * n + k]});
      expected += (std::exp(double{first[b * n + c]}) / sum - (batch.labels[b] == c)) / static_cast<double>(B);
    }
    EXPECT_NEAR(dbias[c], expected, 1e-6);
  }
  for (const Floats* gradient : {&dbias, &dweight})
    for (float g : *gradient) squares += double{g} * g;
  EXPECT_NEAR(step.norm[0], std::sqrt(squares), 1e-5 * std::sqrt(squares));
}

TEST_P(FreezeTest, AReplicaAloneIsTheReplicaAmongOthers) {
  Bert model(small);
  model.freeze("embeddings*");
  model.freeze("*.layer.0.*.weight");
  const std::vector<Replica> all = {replica(model, {kBinary}), replica(model, {.seed = 43}),
                                    replica(model, {.format = "integer(width=8,frac=5)", .rate = 3e-3})};
  const auto together = trained(model, all, 5, 1);
  for (int r : {1, 2}) {
    const auto alone = trained(model, {all[r]}, 5, 1);
    expect_same_bits(everything(*together, r), everything(*alone, 0));
  }
}

TEST_P(FreezeTest, InterruptedIsTheSame) {
  Bert model(small);
  model.freeze("*word_embeddings*");
  const auto straight = trained(model, {replica(model, {})}, 8, 1), first = trained(model, {replica(model, {})}, 4, 1);
  const auto second = trained(model, {replica(model, {})}, 0, 1);
  for (const Parameter& p : model.parameters().all()) second->set(0, p, first->get(0, p));
  second->restore(0, first->optimizer_state(0));
  while (second->step() < 8) second->train_step(batch_at(second->step()));
  expect_same_bits(everything(*straight, 0), everything(*second, 0));
}

// A batch summed as two halves, from a data set in memory.
TEST_P(FreezeTest, InShardsToo) {
  Bert model(small);
  model.freeze("*word_embeddings*");
  SessionOptions options = small_options;
  options.shards = 2;
  Session session(*device_, model, {replica(model, {})}, options);
  session.initialise();
  const Floats before = session.get(0, *model.word);
  const Floats position = session.get(0, *model.position);
  const Split split = random_rows({5, 1, 20, 9, 3, 7}, 1);
  session.attach(split, {.order = {0, 1, 2, 3, 4, 5}, .first = {0, 3, 6}});
  session.train_steps(2);
  expect_same_bits({session.get(0, *model.word)}, {before});
  EXPECT_NE(session.get(0, *model.position), position);
}

// Dropout removed: the seed that draws it says nothing any more.
TEST_P(FreezeTest, WithoutDropoutTheSeedIsNotHeard) {
  for (const float p : {0.0f, 0.1f}) {
    BertConfig config = small;
    config.hidden_dropout = config.attention_dropout = p;
    const Bert model(config);
    const auto session = open_session(*device_, model, {replica(model, {}), replica(model, {.seed = 43})});
    for (const Parameter& q : model.parameters().all()) session->set(1, q, session->get(0, q));
    const auto result = session->train_step(batch_at(0));
    session->train_step(batch_at(1));  // the first one's rate is zero
    EXPECT_EQ(result.loss[0] == result.loss[1], p == 0);
    EXPECT_EQ(session->get(0, *model.word) == session->get(1, *model.word), p == 0);
  }
}

}  // namespace
}  // namespace mpq
