// Linears that are the identity: their gradient, what sharing a session must not change, and the checkpoint that names
// them.
#include <gtest/gtest.h>

#include "base/file.h"
#include "nn/operations.h"
#include "tests/run_mpq.h"
#include "tests/small_session.h"
#include "train/bert_config_file.h"

namespace mpq {
namespace {

using Names = std::set<std::string>;

// Every Linear but the classifier is square.
BertConfig square(const Names& identities) {
  BertConfig config = small;
  config.ffn = config.hidden;
  config.identities = identities;
  return config;
}
Names all_names() {
  const auto names = square_linears(square({}));
  return {names.begin(), names.end()};
}
Names ending(const std::string& part) {
  Names names;
  for (const std::string& name : all_names())
    if (name.ends_with(part)) names.insert(name);
  return names;
}
std::vector<Names> choices() {
  std::vector<Names> all{all_names(), {"bert.encoder.layer.0.attention.self.key", "bert.encoder.layer.1.output.dense"}};
  for (const char* part :
       {"query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense", "pooler.dense"})
    all.push_back(ending(part));
  return all;
}
std::string text(const Names& names) { return fmt::format("{}", fmt::join(names, " ")); }

TEST(Identities, AreTheSquareLinears) {
  EXPECT_EQ(square_linears(small).size(), 2u * 4 + 1);
  EXPECT_EQ(square_linears(square({})).size(), 2u * 6 + 1);
  const Bert model(square(ending("query")));
  EXPECT_EQ(model.linears().size(), 14u - 2);
  EXPECT_TRUE(model.layers[1].query.is_identity());
  EXPECT_EQ(model.parameters().find("bert.encoder.layer.1.attention.self.query.weight"), nullptr);
  for (size_t i = 0; i < model.linears().size(); ++i) EXPECT_EQ(model.linears()[i]->index, static_cast<int>(i));
}

class IdentityTest : public DeviceTest {};
MPQ_ON_EVERY_DEVICE(IdentityTest);

// Of Linears whose weight is the identity matrix, and that do not train.
TEST_P(IdentityTest, GradientOfTheWholeModel) {
  const Batch batch = batch_at(0);
  for (const Names& names : choices()) {
    SCOPED_TRACE(text(names));
    const BertConfig config = square(names);
    const Bert model(config), whole(square({}));
    auto parameters = random_parameters(whole);
    for (const std::string& name : names) {
      auto& weight = parameters.at(name + ".weight");
      for (size_t i = 0; i < weight.size(); ++i) weight[i] = i % (config.hidden + 1) == 0;
      parameters.at(name + ".bias").assign(config.hidden, 0.0);
    }
    const auto session = open_session(*device_, model, {replica(model, {})});
    set_all(*session, parameters);
    const auto result = session->compute_gradients(batch);
    constexpr double times = 3;  // the naive products with an identity matrix are exact: its errors are smaller there
    expect_gradient(*session, result, parameters, batch, whole.config(), times);
  }
}

TEST_P(IdentityTest, AReplicaHasTheBitsItHasAlone) {
  for (const char* format :
       {"none", "integer(width=8,frac=4)", "binary_residual(levels=2)", "block_log(width=4,bias_width=4,block=1x8)",
        "x=none;w=none;b=none;y=block_fp(width=8,exponent=8,bias=127,block=*x16)"})
    for (const Names& names : choices()) {
      SCOPED_TRACE(std::string(format) + " " + text(names));
      const Bert model(square(names));
      const Replica one = replica(model, {.format = format});
      const auto alone = open_session(*device_, model, {one});
      Replica pruned = replica(model, {format, 8});
      pruned.pruning.activations = parse_prune_spec("l1(sparsity=0.3)", Role::activation);
      const auto among = open_session(*device_, model, {replica(model, {.seed = 7}), one, pruned});
      while (alone->step() < 3) alone->train_step(batch_at(alone->step())), among->train_step(batch_at(among->step()));
      expect_same_bits(everything(*alone, 0), everything(*among, 1));
      for (const Floats& values : everything(*alone, 0))
        EXPECT_TRUE(std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }));
    }
}

TEST(Identities, AreNoOperations) {
  const auto operations_of = [](const Names& names) {
    const Bert model(square(names));
    return operations(model, std::vector<LinearSpec>(model.linears().size()), 10);
  };
  std::string kinds;
  for (const Operation& o : operations_of(all_names())) kinds += o.kind + " ";
  EXPECT_EQ(kinds, "embed attention norm gelu norm first row attention norm gelu norm tanh linear ");
  for (const Names& names : choices()) {
    int64_t parameters = 0;
    for (const Operation& o : operations_of(names)) parameters += o.parameters;
    EXPECT_EQ(parameters, Bert(square(names)).parameters().count()) << text(names);
  }
  EXPECT_EQ(operations_of(all_names())[3].name, "bert.encoder.layer.0.intermediate.dense");
  EXPECT_EQ(operations_of(all_names())[6].name, "bert.encoder.layer.1.attention.self");
}

class IdentityFileTest : public RunMpq {
 protected:
  std::string config_with(const std::string& member) const {
    return R"({"model_type": "mpq-bert-with-identities", "hidden_size": 16, "num_attention_heads": 2,
               "num_hidden_layers": 2, "intermediate_size": 48, )" +
           member + "}";
  }
  void expect_refused(const std::string& text, const std::string& what) {
    write_file_atomic(path("config.json"), text);
    try {
      read_bert_config(path("config.json"));
      ADD_FAILURE() << text;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(what), std::string::npos) << error.what();
    }
  }
};

TEST_F(IdentityFileTest, TheConfigurationNamesThem) {
  BertConfig config = square(ending("query"));
  write_bert_config(path("config.json"), {config, {"a", "b", "c"}});
  EXPECT_EQ(read_bert_config(path("config.json")).config, config);
  const std::string said = file("config.json");
  EXPECT_NE(said.find("\"model_type\": \"mpq-bert-with-identities\""), std::string::npos) << said;
  write_bert_config(path("config.json"), {square({}), {"a", "b", "c"}});
  EXPECT_EQ(file("config.json").find("identit"), std::string::npos);
}

TEST_F(IdentityFileTest, WhatCannotBeIsRefused) {
  expect_refused(config_with(R"("identity_linears": ["bert.encoder.layer.0.output.dense"])"), "output.dense");
  expect_refused(config_with(R"("identity_linears": ["bert.encoder.layer.2.attention.self.query"])"), "layer.2");
  expect_refused(config_with(R"("identity_linears": ["classifier"])"), "classifier");
  expect_refused(config_with(R"("identity_linears": ["bert.pooler.dense", "bert.pooler.dense"])"), "twice");
  expect_refused(config_with(R"("identity_linears": "bert.pooler.dense")"), "identity_linears");
  expect_refused(config_with(R"("identity_linears": [1])"), "identity_linears");
  expect_refused(config_with(R"("hidden_dropout_prob": 0)"), "model_type");
  expect_refused(R"({"model_type": "bert", "identity_linears": ["bert.pooler.dense"]})", "model_type");
}

}  // namespace
}  // namespace mpq
