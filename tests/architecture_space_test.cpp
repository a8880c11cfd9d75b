// The space of architectures: the labs' parameters, by the labs' names, and the models they stand for.
#include "app/architecture_space.h"

#include <gtest/gtest.h>

#include <set>

#include "search/memory_storage.h"

namespace mpq {
namespace {

std::shared_ptr<const Bert> base() { return std::make_shared<const Bert>(BertConfig{.vocabulary = 90, .classes = 3}); }
ArchitectureSpace space(const SearchOptions& options = {}, const std::string& sampler = "tpe",
                        const Compression& compression = {"nas", ""}) {
  return {options, sampler, base(), compression};
}

// The trial with these choices; what is not named takes its first one.
FrozenTrial trial_of(const ArchitectureSpace& space, const std::map<std::string, std::string>& choices) {
  FrozenTrial trial;
  const auto add = [&](const SearchSpace& parameters) {
    for (const auto& [name, distribution] : parameters) {
      double value = 0;
      if (const auto chosen = choices.find(name); chosen != choices.end())
        while (to_text(external_value(distribution, value)) != chosen->second) ++value;
      trial.params.push_back({name, std::make_shared<const Distribution>(distribution), value});
    }
  };
  add(space.parameters());
  if (space.further()) add(space.further()(trial));
  return trial;
}

TEST(ArchitectureSpace, HasTheLabsParameters) {
  const SearchSpace parameters = space().parameters();
  std::vector<std::string> names;
  for (const auto& [name, distribution] : parameters) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"num_layers", "num_heads", "hidden_size", "intermediate_size"}));
  EXPECT_EQ(to_json(parameters[0].second),
            R"({"name": "CategoricalDistribution", "attributes": {"choices": [2, 4, 8]}})");
  EXPECT_EQ(count_points(parameters), 300);
}

TEST(ArchitectureSpace, EverySquareLinearHasAType) {
  const ArchitectureSpace all = space();
  const auto names = [&](const std::map<std::string, std::string>& choices) {
    std::set<std::string> names;
    for (const TrialParameter& p : trial_of(all, choices).params) names.insert(p.name);
    return names;
  };
  EXPECT_EQ(names({}).size(), 4u + 2 * 4 + 1);
  EXPECT_EQ(names({{"num_layers", "8"}}).size(), 4u + 8 * 4 + 1);
  const auto square = names({{"hidden_size", "512"}, {"intermediate_size", "512"}});
  EXPECT_EQ(square.size(), 4u + 2 * 6 + 1);
  for (const char* name : {"bert.encoder.layer.1.attention.self.query_type", "bert.encoder.layer.0.output.dense_type",
                           "bert.pooler.dense_type"})
    EXPECT_TRUE(square.contains(name)) << name;
}

// Two layers: 2^9 ways, or 2^13 where the feed-forward is square too; and so on.
TEST(ArchitectureSpace, IsCountedAndNotLaidOut) {
  const ArchitectureSpace all = space();
  int64_t points = 0;
  for (const int layers : {2, 4, 8})
    points += 4 * (24 * (int64_t{1} << (4 * layers + 1)) + (int64_t{1} << (6 * layers + 1)));
  EXPECT_EQ(count_points(all.parameters(), all.further()), points);
}

TEST(ArchitectureSpace, AGridIsOfTheSizesUnlessAskedForMore) {
  EXPECT_FALSE(space({}, "grid").further());
  EXPECT_TRUE(space({.identity = "yes"}, "grid").further());
  EXPECT_TRUE(space({}, "random").further());
  EXPECT_FALSE(space({.identity = "no"}, "random").further());
  MemoryStorage storage;
  const ArchitectureSpace grid = space({}, "grid");
  Study study(storage,
              {.name = "s", .sampler = {.name = "grid", .seed = 42}, .parallel = 300, .space = grid.parameters()});
  std::set<std::vector<int>> seen;
  for (Trial& trial : study.ask(1000)) {
    const BertConfig& c = grid.candidate(trial.record()).model->config();
    seen.insert({c.layers, c.heads, c.hidden, c.ffn});
    study.tell(trial, 0.5);
  }
  EXPECT_EQ(seen.size(), 300u);
}

TEST(ArchitectureSpace, ATrialStandsForAModel) {
  const ArchitectureSpace all = space();
  const std::string key = "bert.encoder.layer.1.attention.self.key";
  const Candidate candidate = all.candidate(trial_of(all, {{"num_heads", "4"},
                                                           {"hidden_size", "192"},
                                                           {"intermediate_size", "768"},
                                                           {key + "_type", "identity"},
                                                           {"bert.pooler.dense_type", "identity"}}));
  const BertConfig& config = candidate.model->config();
  EXPECT_EQ(config.heads, 4);
  EXPECT_EQ(config.hidden, 192);
  EXPECT_EQ(config.classes, 3) << "from the base";
  EXPECT_EQ(config.identities, (std::set<std::string>{key, "bert.pooler.dense"}));
  EXPECT_EQ(describe_architecture(config), "2 layers, 4 heads, 192/768, 2 identities");
  EXPECT_EQ(candidate.formats.size(), 12u);
  EXPECT_FALSE(candidate.epochs_after);
  EXPECT_EQ(all.largest().model->config().hidden, 512);
}

// The architecture that G1 found best in the labs, by its number of parameters: three Linears are the identity.
TEST(ArchitectureSpace, ParametersAreCounted) {
  BertConfig config{.layers = 4, .hidden = 512, .heads = 4, .ffn = 1024};
  config.identities = {"bert.encoder.layer.0.attention.self.key", "bert.encoder.layer.1.attention.self.query",
                       "bert.pooler.dense"};
  const auto model = std::make_shared<const Bert>(config);
  const ModelSize size = size_of({.model = model, .formats = std::vector<LinearSpec>(model->linears().size())}, 100);
  EXPECT_EQ(size.parameters, 23778306);
  EXPECT_EQ(size.megabytes(), 4 * 23778306 / 1e6);
  const int64_t S = 100, C = 512, F = 1024;
  const int64_t whole = S * (4 * C * C + 2 * C * F) + 2 * S * S * C;
  const int64_t last = S * 2 * C * C + 2 * C * C + 2 * C * F + 2 * S * C;
  EXPECT_EQ(size.multiply_adds, 3 * whole - 2 * S * C * C + last + 2 * C);
}

TEST(ArchitectureSpace, CompressedWithinTheTrial) {
  const auto three = compressions({.space = "nas-compression", .post_epochs = 2});
  ASSERT_EQ(three.size(), 3u);
  const auto candidate = [&](size_t i) {
    const ArchitectureSpace s = space({}, "tpe", three[i]);
    return s.candidate(trial_of(s, {}));
  };
  EXPECT_FALSE(candidate(0).epochs_after);
  EXPECT_EQ(candidate(1).epochs_after, 0);
  EXPECT_EQ(candidate(2).epochs_after, 2);
  EXPECT_EQ(to_text(candidate(1).formats[0]), "integer(width=8,frac=4)");
  EXPECT_EQ(candidate(2).pruning.weights.sparsity, 0.5f);
  EXPECT_FALSE(candidate(2).pruning.activations);
  EXPECT_FALSE(candidate(0).pruning);
}

TEST(ArchitectureSpace, WhatMakesNoModelIsRefused) {
  for (const SearchOptions& bad :
       {SearchOptions{.layers = "2,x"}, SearchOptions{.layers = ""}, SearchOptions{.heads = "0"},
        SearchOptions{.hidden = "100"}, SearchOptions{.hidden = "128,128"}, SearchOptions{.heads = "32"},
        SearchOptions{.ffn = "99999999"}})
    EXPECT_THROW(space(bad), UserError);
  EXPECT_THROW(space({}, "tpe", {"x", "integer(width=99)"}), UserError);
  EXPECT_THROW(compressions({.space = "nas-compression", .prune_weights = "l1(sparsity=1)"}), UserError);
}

}  // namespace
}  // namespace mpq
