// mpq train, eval and predict as a user meets them: the same bits whatever the threads, the vector width or the
// interruptions.
#include "tests/run_mpq.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

class TrainTest : public RunMpq {
 protected:
  static constexpr const char* tiny = "--data synthetic --rows 160 --model 1,16,2,32 --max-tokens 32 --lr 1e-3 ";

  Outcome train(const std::string& out, const std::string& more, const std::string& before = "") {
    return mpq("train --json " + std::string(tiny) + more + " --out {}/" + out, before);
  }
  void expect_same(const std::string& a, const std::string& b) {
    EXPECT_TRUE(file(a + "/model.safetensors") == file(b + "/model.safetensors")) << a << " " << b;
    EXPECT_EQ(file(a + "/loss.tsv"), file(b + "/loss.tsv"));
  }
};

TEST_F(TrainTest, TheSameBitsAgainForAnyThreadsAndVectorWidth) {
  const Outcome first = train("a", "--threads 1");
  ASSERT_EQ(first.code, 0) << first.err;
  for (const char* key : {"test_accuracy", "valid_accuracy", "train_rows_per_s", "eval_rows_per_s", "seconds"})
    EXPECT_TRUE(first.result().at(key).is_number()) << key;
  EXPECT_EQ(train("b", "--threads 1").code, 0);
  EXPECT_EQ(train("c", "--threads 2").code, 0);
  EXPECT_EQ(train("d", "--threads 2", "MPQ_SIMD=avx2").code, 0);
  for (const char* other : {"b", "c", "d"}) expect_same("a", other);
  train("e", "--seed 7");
  EXPECT_FALSE(file("a/model.safetensors") == file("e/model.safetensors"));
}

// What dropout keeps takes memory too, which evaluation does not need: here training is the larger of the two.
TEST_F(TrainTest, ShortTextsHaveRoomForWhatDropoutKeeps) {
  EXPECT_EQ(mpq("train --data synthetic --rows 160 --max-tokens 32 --model 2,16,2,32").code, 0);
}

TEST_F(TrainTest, InterruptedAndResumedItEndsWithTheSameBits) {
  const std::string formats = "--epochs 20 --format \"binary_residual(levels=2)\" --checkpoint-every 20";
  ASSERT_EQ(train("whole", formats).code, 0);
  const auto begun = [&](const char* out) {
    return [this, out] { return fs::exists(path(out) / "training_state.json"); };
  };
  for (const auto& [out, signal, code] : {std::tuple{"killed", SIGKILL, 128 + SIGKILL}, {"stopped", SIGINT, 130}}) {
    const Outcome ended =
        interrupt(start("train " + std::string(tiny) + formats + " --out {}/" + out), signal, begun(out));
    EXPECT_EQ(ended.code, code) << ended.err;
    const Outcome resumed = train(out, formats + " --resume");
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    expect_same("whole", out);
    EXPECT_FALSE(fs::exists(path(out) / "training_state.json"));
  }
  EXPECT_TRUE(file("whole/mpq.safetensors") == file("killed/mpq.safetensors"));
}

TEST_F(TrainTest, InShardsItHasTheSameBitsWhateverTheThreadsAndInterruptions) {
  const std::string recipe = "--shards 2 --batch 5 --epochs 8 --checkpoint-every 20 ";
  ASSERT_EQ(train("a", recipe + "--threads 1").code, 0);
  EXPECT_EQ(train("b", recipe + "--threads 2", "MPQ_SIMD=avx2").code, 0);
  expect_same("a", "b");
  const auto begun = [this] { return fs::exists(path("c") / "training_state.json"); };
  interrupt(start("train " + std::string(tiny) + recipe + " --out {}/c"), SIGKILL, begun);
  const Outcome other = train("c", "--batch 5 --epochs 8 --checkpoint-every 20 --resume");
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("shards 2"), std::string::npos) << other.err;
  EXPECT_EQ(train("c", recipe + "--resume").code, 0);
  expect_same("a", "c");
  EXPECT_EQ(train("d", "--shards 3").code, 2);
}

// Side by side each seed has the bits that it has in other company, and the order's own seed those that it has alone.
TEST_F(TrainTest, SeveralSeedsSideBySide) {
  const std::string recipe = "--epochs 3 --layer-format \"encoder*=integer(width=6,frac=auto)\" --checkpoint-every 20 ";
  ASSERT_EQ(train("alone", recipe).code, 0);
  const Outcome two = train("two/%", recipe + "--seeds 2"), three = train("three/%", recipe + "--seeds 3");
  ASSERT_EQ(three.code, 0) << three.err;
  expect_same("alone", "three/42");
  for (const char* seed : {"42", "43"}) expect_same(std::string("two/") + seed, std::string("three/") + seed);
  EXPECT_FALSE(file("three/43/model.safetensors") == file("three/44/model.safetensors"));
  double sum = 0;
  int seeds = 0;
  for (const std::string_view line : split(trim(three.out), '\n'))
    if (const auto json = nlohmann::json::parse(line); json.contains("seed") && json.contains("test_accuracy"))
      sum += json.at("test_accuracy").get<double>(), seeds += json.at("seed") == 42 + seeds;
  EXPECT_EQ(seeds, 3) << three.out;
  EXPECT_NEAR(three.result().at("test_accuracy").get<double>(), sum / 3, 1e-12);
  EXPECT_LE(three.result().at("test_low"), three.result().at("test_accuracy"));
  EXPECT_EQ(three.result().at("seeds"), 3);

  // From bases of their own, and interrupted.
  const std::string second = "--init {}/three/% --epochs 20 --checkpoint-every 20 --dropout 0.2 --seeds 3 ";
  ASSERT_EQ(train("whole/%", second).code, 0);
  const auto begun = [this] { return fs::exists(path("killed/44/training_state.json")); };
  interrupt(start("train " + std::string(tiny) + second + "--out {}/killed/%"), SIGINT, begun);
  const Outcome resumed = train("killed/%", second + "--resume");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  for (const char* seed : {"42", "43", "44"}) expect_same(std::string("whole/") + seed, std::string("killed/") + seed);
  ASSERT_EQ(train("from_42", "--init {}/three/42 --epochs 20 --dropout 0.2").code, 0);
  expect_same("from_42", "whole/42");

  const Outcome shared = train("shared", "--seeds 2");
  EXPECT_EQ(shared.code, 2);
  EXPECT_NE(shared.err.find("a % in it stands for the seed"), std::string::npos) << shared.err;
  EXPECT_EQ(train("halves/%", "--seeds 2 --shards 2").code, 2);
}

TEST_F(TrainTest, ATimeoutStopsItAndOnlyTheSameRunGoesOn) {
  const Outcome out_of_time = train("run", "--epochs 1000 --timeout 0.4");
  EXPECT_EQ(out_of_time.code, 0) << out_of_time.err;
  EXPECT_NE(out_of_time.err.find("stopped: "), std::string::npos);
  const Outcome other = train("run", "--epochs 1000 --dropout 0 --resume");
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("other options"), std::string::npos) << other.err;
  EXPECT_EQ(train("new", "--resume").code, 2);
}

TEST_F(TrainTest, EveryFamilyTrainsAndEvaluates) {
  for (const char* family :
       {"integer(width=8,frac=4)", "minifloat_denorm(width=8,exponent=4,bias=7)",
        "minifloat_ieee(width=8,exponent=4,bias=7)", "log(width=8,bias=7)",
        "block_fp(width=7,exponent=8,bias=127,block=1x16)",
        "block_minifloat(width=16,exponent=4,bias_width=8,block=1x16)", "block_log(width=4,bias_width=4,block=1x16)",
        "binary()", "binary_scaling", "binary_residual(levels=3)", "mxint_hardware(width=12,exponent=4,tile=1x16)"}) {
    const Outcome outcome = train("qat", "--format '" + std::string(family) + "'");
    EXPECT_EQ(outcome.code, 0) << family << outcome.err;
    const Outcome eval = mpq("eval --json --checkpoint {}/qat --data synthetic --rows 160");
    ASSERT_EQ(eval.code, 0) << family << eval.err;
    EXPECT_EQ(eval.result().at("accuracy"), outcome.result().at("test_accuracy")) << family;
  }
}

TEST_F(TrainTest, TilesThatCannotDivideAreRefusedBeforeTheFirstStep) {
  for (const char* tile : {"4x16", "1x7"}) {
    const Outcome outcome =
        train("qat", "--format 'mxint_hardware(width=12,exponent=4,tile=" + std::string(tile) + ")'");
    EXPECT_EQ(outcome.code, 2) << tile;
    EXPECT_NE(outcome.err.find("attention.self.query's input"), std::string::npos) << outcome.err;
  }
}

TEST_F(TrainTest, EvalQuantizesAndPredictAgreesWithIt) {
  ASSERT_EQ(train("model", "--epochs 3 --layer-format classifier='integer(width=8,frac=4)'").code, 0);
  EXPECT_NE(file("model/mpq.json").find("\"classifier\": \"integer(width=8,frac=4)\""), std::string::npos);
  const Outcome exact = mpq("eval --json --checkpoint {}/model --rows 160");
  const Outcome coarse = mpq("eval --json --checkpoint {}/model --rows 160 --format 'integer(width=2,frac=1)'");
  ASSERT_EQ(exact.code, 0) << exact.err;
  EXPECT_EQ(exact.result().at("confusion").size(), 2u);
  EXPECT_NE(exact.result().at("loss"), coarse.result().at("loss"));

  write_file_atomic(path("data.tsv"), "text\tlabel\nthe plot was dull.\tnegative\nthe cast was superb.\tpositive\n");
  write_file_atomic(path("texts"), "the plot was dull.\nthe cast was superb.\n");
  const Outcome predicted = mpq("predict --json --checkpoint {}/model --in {}/texts");
  ASSERT_EQ(predicted.code, 0) << predicted.err;
  const Outcome judged = mpq("eval --json --checkpoint {}/model --data {}/data.tsv --test {}/data.tsv --valid 0");
  ASSERT_EQ(judged.code, 0) << judged.err;
  int correct = 0, row = 0;
  for (std::string_view line : split(trim(predicted.out), '\n')) {
    const auto json = nlohmann::json::parse(line);
    if (!json.contains("label")) continue;
    correct += json.at("label") == (row++ == 0 ? "negative" : "positive");
  }
  EXPECT_EQ(row, 2);
  EXPECT_EQ(judged.result().at("accuracy").get<double>(), correct / 2.0);
}

TEST_F(TrainTest, WhatCannotBeDoneSaysSoAndLeavesNothing) {
  for (const char* bad : {"--device cuda:99", "--batch 0", "--format nonsense", "--layer-format nowhere=none"}) {
    const Outcome outcome = train("bad", bad);
    EXPECT_EQ(outcome.code, 2) << bad << outcome.err;
    EXPECT_NE(outcome.err.find("hint: "), std::string::npos) << bad << outcome.err;
  }
  const Outcome full = train("full", "", "trap '' XFSZ; ulimit -f 10;");  // blocks of 1024 bytes
  EXPECT_EQ(full.code, 2) << full.err;
  EXPECT_NE(full.err.find("File too large"), std::string::npos) << full.err;
  for (const auto& entry : fs::directory_iterator(path("")))
    EXPECT_FALSE(entry.path().filename().string().starts_with("bad") ||
                 entry.path().filename().string().starts_with("full"))
        << entry.path();
}

}  // namespace
}  // namespace mpq
