// mpq predict and mpq linear as a user meets them, on a tiny checkpoint and a case small enough to do by hand.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/safetensors.h"
#include "base/text.h"
#include "data/wordpiece.h"
#include "tests/temporary_folder.h"
#include "train/checkpoint.h"

namespace mpq {
namespace {

struct Outcome {
  int code;
  std::string out, err;
};

class Binary {
 public:
  Outcome operator()(const std::string& arguments, const std::string& input = "") const {
    std::ofstream(folder_ / "in", std::ios::binary) << input;
    const std::string out = folder_ / "out", err = folder_ / "err", in = folder_ / "in";
    const int status = std::system((MPQ_BINARY " " + arguments + " <" + in + " >" + out + " 2>" + err).c_str());
    return {WEXITSTATUS(status), read_file(out), read_file(err)};
  }

 private:
  TemporaryFolder folder_;
};

class PredictTest : public testing::Test {
 protected:
  void SetUp() override {
    BertConfig config;
    config.layers = 1, config.hidden = 16, config.heads = 2, config.ffn = 24, config.vocabulary = 8,
    config.positions = 16;
    config.initializer_range = 0.5f;
    const Bert model(config);
    const auto device = open_device("cpu");
    Session session(*device, model, {{.formats = std::vector<LinearSpec>(model.linears().size())}},
                    {.training = false});
    session.initialise(0);
    const WordPiece tokenizer({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "not"});
    write_checkpoint(folder, session, 0, tokenizer, {{"neg", "pos"}, 16, Truncate::Head});
  }
  Outcome predict(const std::string& options, const std::string& input) const {
    return mpq("predict --checkpoint " + folder.string() + " " + options, input);
  }
  // The objects that are predictions.
  static std::vector<nlohmann::json> predictions(const std::string& out) {
    std::vector<nlohmann::json> all;
    for (const std::string_view line : split(trim(out), '\n'))
      if (auto json = nlohmann::json::parse(line); json.contains("logits")) all.push_back(json);
    return all;
  }

  TemporaryFolder temporary;
  std::filesystem::path folder = temporary / "checkpoint";
  Binary mpq;
};

TEST_F(PredictTest, OneLineATextWithProbabilitiesThatAddUpToOne) {
  const Outcome run = predict("", "good\nnot bad not good\r\nbad");
  EXPECT_EQ(run.code, 0) << run.err;
  const auto lines = split(trim(run.out), '\n');
  ASSERT_EQ(lines.size(), 3u);
  for (const std::string_view line : lines) {
    const auto fields = split(line, '\t');
    ASSERT_EQ(fields.size(), 2u);
    const auto p = split(fields[1], ' ');
    ASSERT_EQ(p.size(), 2u);
    EXPECT_NEAR(*parse_double(p[0]) + *parse_double(p[1]), 1, 2e-6);
    EXPECT_EQ(fields[0], *parse_double(p[0]) > *parse_double(p[1]) ? "neg" : "pos");
  }
}

TEST_F(PredictTest, JsonCarriesTheLogitsBehindTheProbabilities) {
  for (const auto& p : predictions(predict("--json", "good\nbad").out)) {
    const double a = p["logits"][0], b = p["logits"][1];
    EXPECT_NEAR(p["probabilities"][1], 1 / (1 + std::exp(a - b)), 1e-12);
    EXPECT_EQ(p["label"], a > b ? "neg" : "pos");
  }
}

TEST_F(PredictTest, AnAnswerDoesNotDependOnItsNeighbours) {
  std::string many;
  for (int i = 0; i < 40; ++i) many += i % 3 ? "not good\n" : "bad bad not good\n";
  for (const std::string format : {"", "--format \"block_log(width=4,bias_width=4,block=16)\""}) {
    const auto alone = predictions(predict("--json " + format, "not good").out);
    const auto among = predictions(predict("--json " + format, many).out);
    ASSERT_EQ(alone.size(), 1u);
    ASSERT_EQ(among.size(), 40u);
    for (int i = 1; i < 40; i += 3) EXPECT_EQ(among[i], alone[0]) << i;
  }
}

TEST_F(PredictTest, FormatsAreTheCheckpointsUnlessOthersAreAsked) {
  const std::string text = "not good bad";
  const auto as_float = predict("--json", text).out;
  const std::string spec = "integer(width=4,frac=2)";
  const auto quantized = predict("--json --format \"" + spec + "\"", text).out;
  EXPECT_NE(predictions(as_float), predictions(quantized));
  auto info = nlohmann::json::parse(read_file(folder / "mpq.json"));
  const Bert model(read_checkpoint(folder).config);
  for (const Linear* linear : model.linears()) info["formats"][linear->name] = spec;
  std::ofstream(folder / "mpq.json") << info;
  EXPECT_EQ(predictions(predict("--json", text).out), predictions(quantized));
  EXPECT_EQ(predictions(predict("--json --format none", text).out), predictions(as_float));
  EXPECT_NE(predictions(predict("--json --layer-format classifier=none", text).out), predictions(quantized));
}

TEST_F(PredictTest, BadInputNamesItsLine) {
  const Outcome blank = predict("", "good\n  \nbad");
  EXPECT_EQ(blank.code, 2);
  EXPECT_NE(blank.err.find("line 2: the text is empty"), std::string::npos) << blank.err;
  const Outcome broken = predict("", "good\nbad\nno\xff");
  EXPECT_EQ(broken.code, 2);
  EXPECT_NE(broken.err.find("line 3: byte 3 is not valid UTF-8"), std::string::npos) << broken.err;
  EXPECT_EQ(predict("--in /nowhere/texts", "").code, 2);
  EXPECT_EQ(mpq("predict --checkpoint /nowhere").code, 2);
  const Outcome layer = predict("--layer-format clasifier=none", "good");
  EXPECT_NE(layer.err.find("did you mean classifier?"), std::string::npos) << layer.err;
  EXPECT_EQ(predict("", "").out, "");
}

class LinearCommandTest : public testing::Test {
 protected:
  std::string path(const char* name) const { return temporary / name; }
  void write(const std::vector<SafeTensor>& tensors) { write_safetensors(path("case"), tensors); }
  Outcome run(const std::string& formats) const {
    return mpq("linear " + formats + " --in " + path("case") + " --out " + path("result"));
  }

  TemporaryFolder temporary;
  Binary mpq;
};

TEST_F(LinearCommandTest, ForwardAndBackwardByHand) {
  const std::vector<float> x = {1.2f, -0.7f}, w = {0.5f, 2, -1, 0.3f}, b = {0.26f, 0}, dy = {1, 10};
  write({{"x", "F32", {1, 1, 2}, x.data()},
         {"weight", "F32", {2, 2}, w.data()},
         {"bias", "F32", {2}, b.data()},
         {"grad_y", "F32", {1, 1, 2}, dy.data()}});
  const std::string half = "\"integer(width=8,frac=1)\"";  // xq = 1, -.5; wq = .5, 2, -1, .5; bq = .5, 0
  const Outcome outcome = run("--x " + half + " --w " + half + " --b " + half);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const SafeTensors result(path("result"));
  EXPECT_EQ(result.read_f32("y"), (std::vector<float>{0, -1.25f}));
  EXPECT_EQ(result.at("y").shape, (std::vector<int64_t>{1, 1, 2}));
  EXPECT_EQ(result.read_f32("grad_x"), (std::vector<float>{-9.5f, 7}));
  EXPECT_EQ(result.read_f32("grad_weight"), (std::vector<float>{1, -0.5f, 10, -5}));
  EXPECT_EQ(result.read_f32("grad_bias"), (std::vector<float>{1, 10}));
}

TEST_F(LinearCommandTest, ResidualBinaryTrainsMeansAndGamma) {
  const std::vector<float> x = {0.5f, 2}, w = {0.1f, -3}, dy = {1}, means = {0.5f, 0.25f}, gamma = {-2};
  write({{"x", "F32", {1, 2}, x.data()},
         {"weight", "F32", {1, 2}, w.data()},
         {"grad_y", "F32", {1, 1}, dy.data()},
         {"means", "F32", {2}, means.data()},
         {"gamma", "F32", {1}, gamma.data()}});
  // xq = .5 + 0 (r1 = 0), .5 + .25; wq = 2, -2
  ASSERT_EQ(run("--x \"binary_residual(levels=2)\" --w \"binary()\" --b none").code, 0);
  const SafeTensors result(path("result"));
  EXPECT_EQ(result.read_f32("y"), (std::vector<float>{2 * 0.5f - 2 * 0.75f}));
  // dxq = 2, -2. x0: both levels inside: 2 (.25 + .5 (1 - .25)); x1 is outside at both levels.
  EXPECT_EQ(result.read_f32("grad_x"), (std::vector<float>{2 * (0.25f + 0.5f * 0.75f), 0}));
  EXPECT_EQ(result.read_f32("grad_weight"), (std::vector<float>{2 * 0.5f, 2 * 0.75f}));
  EXPECT_EQ(result.read_f32("grad_gamma"), (std::vector<float>{-(0.5f - 0.75f)}));
  EXPECT_EQ(result.read_f32("grad_means"), (std::vector<float>{2 * 0.75f - 2, -2}));
}

TEST_F(LinearCommandTest, WrongShapesAreNamed) {
  const std::vector<float> x(6), w(4);
  write({{"x", "F32", {2, 3}, x.data()}, {"weight", "F32", {2, 2}, w.data()}});
  const Outcome outcome = run("--x none --w none --b none");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("tensor weight is [2, 2]\nhint: expected: [outputs, 3]"), std::string::npos)
      << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(path("result")));
}

}  // namespace
}  // namespace mpq
