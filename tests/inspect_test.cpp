// mpq inspect, and the operations behind it.
#include <gtest/gtest.h>

#include <numeric>

#include "nn/operations.h"
#include "tests/run_mpq.h"

namespace mpq {
namespace {

constexpr int64_t S = 275, C = 128, F = 512;

std::vector<Operation> tiny(const std::string& format) {
  const Bert model(BertConfig{});
  return operations(model, std::vector<LinearSpec>(model.linears().size(), parse_linear_spec(format)), S);
}

TEST(Operations, AreThoseOfThePassInOrder) {
  std::string order;
  for (const Operation& o : tiny("none")) order += o.kind + " ";
  const std::string linears = "linear linear linear ", rest = "attention linear norm linear gelu linear norm ";
  EXPECT_EQ(order, "embed " + linears + rest + "linear linear first row linear " + rest + "linear tanh linear ");
}

TEST(Operations, CountEveryParameterOnce) {
  for (const char* format : {"none", "integer(width=8,frac=4)", "block_log(width=4,bias_width=4,block=1x8)"}) {
    int64_t sum = 0;
    for (const Operation& o : tiny(format)) sum += o.parameters;
    EXPECT_EQ(sum, Bert(BertConfig{}).parameters().count()) << format;
  }
}

TEST(Operations, MultiplyAddsByHand) {
  int64_t sum = 0;
  for (const Operation& o : tiny("none")) sum += o.multiply_adds;
  const int64_t first = S * (4 * C * C + 2 * C * F) + 2 * S * S * C;
  const int64_t last = S * 2 * C * C + 2 * C * C + 2 * C * F + 2 * S * C;  // keys, values; the rest for [CLS]
  EXPECT_EQ(sum, first + last + C * C + 2 * C);
}

TEST(Operations, BytesAreTheFormats) {
  const auto all = tiny("x=integer(width=8,frac=4);w=block_fp(width=6,exponent=8,bias=127,block=1x16);b=none");
  const Operation& query = all[1];
  EXPECT_EQ(query.name, "bert.encoder.layer.0.attention.self.query");
  EXPECT_EQ(query.x_bits, 8.0 * S * C);
  EXPECT_EQ(query.w_bits, (6 + 8.0 / 16) * C * C);
  EXPECT_EQ(query.b_bits, 32.0 * C);
}

TEST(Operations, ResidualsAreArrows) {
  const auto all = tiny("integer(width=8,frac=4)");
  EXPECT_EQ(all[1].inputs, std::vector{0});
  EXPECT_EQ(all[4].inputs, (std::vector{1, 2, 3}));  // attention
  EXPECT_EQ(all[6].kind, "norm");
  EXPECT_EQ(all[6].inputs, (std::vector{5, 0}));
}

class InspectTest : public RunMpq {};

TEST_F(InspectTest, PrintsATableAndTheSameAsJson) {
  const Outcome table = mpq("inspect --model 1,32,2,64 --tokens 10");
  EXPECT_EQ(table.code, 0) << table.err;
  EXPECT_NE(table.out.find("bert.encoder.layer.0.output.LayerNorm"), std::string::npos);
  EXPECT_NE(table.out.find("total"), std::string::npos);
  const auto json = mpq("inspect --model 1,32,2,64 --tokens 10 --json").result();
  int64_t parameters = 0;
  for (const auto& o : json.at("operations")) parameters += o.at("parameters").get<int64_t>();
  EXPECT_EQ(parameters, json.at("parameters"));
  EXPECT_EQ(json.at("model_bits").get<int64_t>(), 32 * parameters);
}

TEST_F(InspectTest, FormatsByPatternReachWhatTheyName) {
  const auto json = mpq("inspect --layer-format 'encoder.*.query=integer(width=4,frac=2)' --json").result();
  int queries = 0;
  for (const auto& o : json.at("operations")) {
    if (o.at("kind") != "linear") continue;
    const bool query = o.at("name").get<std::string>().ends_with(".query");
    queries += query;
    EXPECT_EQ(o.at("format"), query ? "integer(width=4,frac=2)" : "none");
  }
  EXPECT_EQ(queries, 2);
  EXPECT_EQ(json.at("model_bits").get<int64_t>(), 32 * json.at("parameters").get<int64_t>() - 2 * 28 * (C * C + C));
}

TEST_F(InspectTest, DrawsWhereGraphvizIs) {
  const Outcome outcome = mpq("inspect --model 1,32,2,64 --out {}/drawing");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(file("drawing/model.dot").find("attention.self.query"), std::string::npos);
  const bool graphviz = std::system("dot -V >/dev/null 2>&1") == 0;
  EXPECT_EQ(std::filesystem::exists(path("drawing/model.svg")), graphviz);
  const Outcome without = mpq("inspect --model 1,32,2,64 --out {}/other", "PATH={}");
  EXPECT_EQ(without.code, 0);
  EXPECT_NE(without.err.find("apt-get install graphviz"), std::string::npos) << without.err;
  EXPECT_TRUE(std::filesystem::exists(path("other/model.dot")));
  EXPECT_FALSE(std::filesystem::exists(path("other/model.svg")));
}

TEST_F(InspectTest, BadInputIsAUserError) {
  for (const char* bad : {"--model huge", "--tokens 0", "--tokens 513", "--layer-format 'decoder.*=none'",
                          "--checkpoint {}/nowhere", "--model tiny --checkpoint {}", "--layer-format classifier"})
    EXPECT_EQ(mpq(std::string("inspect ") + bad).code, 2) << bad;
}

class FreezeCommandTest : public RunMpq {
 protected:
  const std::string recipe_ = "--json --data synthetic --rows 160 --model 1,16,2,32 --max-tokens 32 ";
  Outcome train(const std::string& more) { return mpq("train " + recipe_ + more); }
};

TEST_F(FreezeCommandTest, APatternWithoutParametersIsRefusedWithANearName) {
  const Outcome near = train("--freeze clasifier.weight");
  EXPECT_EQ(near.code, 2);
  EXPECT_NE(near.err.find("did you mean classifier.weight?"), std::string::npos) << near.err;
  const Outcome all = train("--freeze '*'");
  EXPECT_EQ(all.code, 2);
  EXPECT_NE(all.err.find("nothing to train"), std::string::npos) << all.err;
}

TEST_F(FreezeCommandTest, ResumeWantsTheSameFrozenSet) {
  const std::string run = "--epochs 20 --checkpoint-every 20 --out {}/run ";
  const auto begun = [this] { return std::filesystem::exists(path("run/training_state.json")); };
  ASSERT_EQ(interrupt(start("train " + recipe_ + run + "--freeze 'bert.embeddings*'"), SIGINT, begun).code, 130);
  EXPECT_NE(file("run/training_state.json").find("frozen bert.embeddings.position"), std::string::npos);
  for (const char* other : {"", "--freeze 'bert.embeddings.LayerNorm*'"}) {
    const Outcome refused = train(run + "--resume " + other);
    EXPECT_EQ(refused.code, 2);
    EXPECT_NE(refused.err.find("other options"), std::string::npos) << refused.err;
  }
  const Outcome same = train(run + "--resume --freeze 'embeddings*'");
  EXPECT_EQ(same.code, 0) << same.err;
}

}  // namespace
}  // namespace mpq
