// mpq pretrain as a user meets it: the same bits whatever the threads, the vector width or the interruptions; what
// starts from it; what it refuses.
#include "base/safetensors.h"
#include "tests/run_mpq.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

class PretrainTest : public RunMpq {
 protected:
  static constexpr const char* tiny =
      "--data synthetic --rows 160 --held-out 0.1 --model 2,16,2,32 --sequence 16 --long-sequence 48 --long-share 0.3 "
      "--batch 12 --lr 1e-3 ";

  Outcome pretrain(const std::string& out, const std::string& more, const std::string& before = "") {
    return mpq("pretrain --json " + std::string(tiny) + more + " --out {}/" + out, before);
  }
  void expect_same(const std::string& a, const std::string& b) {
    EXPECT_TRUE(file(a + "/model.safetensors") == file(b + "/model.safetensors")) << a << " " << b;
    EXPECT_EQ(file(a + "/loss.tsv"), file(b + "/loss.tsv"));
  }
};

TEST_F(PretrainTest, TheSameBitsAgainForAnyThreadsAndVectorWidth) {
  const Outcome first = pretrain("a", "--epochs 2 --threads 1");
  ASSERT_EQ(first.code, 0) << first.err;
  const auto result = first.result();
  for (const char* key : {"final_loss", "heldout_loss", "heldout_unigram_loss", "steps", "tokens", "seconds"})
    EXPECT_TRUE(result.at(key).is_number()) << key;
  EXPECT_EQ(result.at("heldout_sequence"), 48);
  EXPECT_EQ(split(trim(file("a/loss.tsv")), '\n').size(), 1 + result.at("steps").get<size_t>());
  EXPECT_EQ(pretrain("b", "--epochs 2 --threads 2", "MPQ_SIMD=avx2").code, 0);
  expect_same("a", "b");
  pretrain("c", "--epochs 2 --seed 7");
  pretrain("d", "--epochs 2 --whole-word");
  for (const char* other : {"c", "d"}) EXPECT_FALSE(file("a/loss.tsv") == file(std::string(other) + "/loss.tsv"));
}

TEST_F(PretrainTest, ItLearnsMoreThanTheWordsFrequencies) {
  const Outcome ended =
      mpq("pretrain --json --data synthetic --rows 800 --held-out 0.05 --model 1,32,1,64 --sequence 48 --long-share 0 "
          "--batch 16 --epochs 12 --lr 4e-3 --dropout 0");
  ASSERT_EQ(ended.code, 0) << ended.err;
  const auto result = ended.result();
  EXPECT_LT(result.at("heldout_loss").get<double>(), 0.97 * result.at("heldout_unigram_loss").get<double>());
}

// Killed in either phase.
TEST_F(PretrainTest, InterruptedAndResumedItEndsWithTheSameBits) {
  const std::string recipe = "--epochs 8 --checkpoint-every 20 ";
  const Outcome undisturbed = pretrain("whole", recipe);
  ASSERT_EQ(undisturbed.code, 0) << undisturbed.err;
  const auto steps = undisturbed.result().at("steps").get<int>();
  const auto begun = [&](int step) {
    return [this, step] {
      const fs::path state = path("killed") / "training_state.json";
      if (!fs::exists(state)) return false;
      const std::string text = read_file(state);
      const auto json = nlohmann::json::parse(text, nullptr, false);
      return json.is_object() && json.at("step").get<int>() >= step;
    };
  };
  interrupt(start("pretrain " + std::string(tiny) + recipe + " --out {}/killed"), SIGKILL, begun(20));
  const Outcome stopped = interrupt(start("pretrain " + std::string(tiny) + recipe + " --out {}/killed --resume"),
                                    SIGINT, begun(steps * 8 / 10));
  EXPECT_EQ(stopped.code, 130) << stopped.err;
  const Outcome other = pretrain("killed", "--epochs 9 --checkpoint-every 20 --resume");
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("other options"), std::string::npos) << other.err;
  const Outcome resumed = pretrain("killed", recipe + "--resume");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  expect_same("whole", "killed");
  EXPECT_FALSE(fs::exists(path("killed") / "training_state.json"));
}

TEST_F(PretrainTest, ItsCheckpointIsAMaskedLanguageModelThatTrainingStartsFrom) {
  ASSERT_EQ(pretrain("base", "--epochs 1").code, 0);
  EXPECT_NE(file("base/config.json").find("BertForMaskedLM"), std::string::npos);
  const SafeTensors weights(path("base") / "model.safetensors");
  for (const char* name : {"bert.embeddings.word_embeddings.weight", "cls.predictions.bias",
                           "cls.predictions.transform.dense.weight", "cls.predictions.transform.LayerNorm.bias"})
    EXPECT_NO_THROW(weights.at(name)) << name;
  for (const auto& entry : weights.entries()) EXPECT_FALSE(entry.name.starts_with("bert.pooler")) << entry.name;

  // Measured again without training, in the same words.
  const Outcome first = pretrain("again", "--epochs 0 --init {}/base"),
                second = pretrain("twice", "--epochs 0 --init {}/again");
  ASSERT_EQ(second.code, 0) << second.err;
  EXPECT_EQ(first.result().at("heldout_loss"), second.result().at("heldout_loss"));
  EXPECT_TRUE(file("base/model.safetensors") == file("twice/model.safetensors"));

  const std::string train = "train --json --data synthetic --rows 160 --max-tokens 32 --init {}/base --out {}/tuned ";
  const Outcome untouched = mpq(train + "--epochs 0");
  ASSERT_EQ(untouched.code, 0) << untouched.err;
  EXPECT_NE(untouched.err.find("freshly initialised: bert.pooler.dense.weight"), std::string::npos) << untouched.err;
  EXPECT_EQ(SafeTensors(path("tuned") / "model.safetensors").read_f32("bert.encoder.layer.1.output.dense.weight"),
            weights.read_f32("bert.encoder.layer.1.output.dense.weight"));
  EXPECT_EQ(mpq(train + "--epochs 1").code, 0);
  // And back: a classifier's encoder can be pretrained further.
  const Outcome further = pretrain("further", "--epochs 1 --init {}/tuned");
  EXPECT_EQ(further.code, 0) << further.err;
  EXPECT_NE(further.err.find("freshly initialised: cls.predictions.transform.dense.weight"), std::string::npos);
  const Outcome headless = mpq("eval --checkpoint {}/base --data synthetic --rows 160");
  EXPECT_EQ(headless.code, 2);
  EXPECT_NE(headless.err.find("no classifier yet"), std::string::npos) << headless.err;
}

TEST_F(PretrainTest, PlainTextWillDo) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "the quick fox number " + std::to_string(i % 7) + " saw a dog and a bird\n";
  write_file_atomic(path("text.txt"), text);
  const Outcome ended =
      mpq("pretrain --json --data {}/text.txt --tokenizer sentencepiece:100 --model 1,16,1,32 "
          "--sequence 12 --long-share 0 --batch 16 --epochs 1");
  EXPECT_EQ(ended.code, 0) << ended.err;
  const Outcome labels = mpq("train --data {}/text.txt --tokenizer sentencepiece:100");
  EXPECT_EQ(labels.code, 2) << "no labels, no classifier";
}

TEST_F(PretrainTest, FillSaysWhatStandsBehindAMask) {
  ASSERT_EQ(pretrain("base", "--epochs 4").code, 0);
  write_file_atomic(path("texts.txt"), "the film was [MASK] and [MASK].\n[MASK]\n");
  const Outcome filled = mpq("fill --checkpoint {}/base --in {}/texts.txt --top 3 --json");
  ASSERT_EQ(filled.code, 0) << filled.err;
  EXPECT_EQ(filled.result().at("masks").size(), 1u);
  const auto tokens = filled.result().at("masks").at(0);
  ASSERT_EQ(tokens.size(), 3u);
  EXPECT_GE(tokens.at(0).at("probability").get<double>(), tokens.at(1).at("probability").get<double>());
  EXPECT_EQ(mpq("fill --checkpoint {}/base --in {}/texts.txt").out.find("[CLS]"), std::string::npos);
  write_file_atomic(path("texts.txt"), "no mask\n");
  EXPECT_EQ(mpq("fill --checkpoint {}/base --in {}/texts.txt").code, 2);
  ASSERT_EQ(mpq("train --data synthetic --rows 160 --max-tokens 32 --model 1,16,2,32 --epochs 0 --out {}/other").code,
            0);
  const Outcome classifier = mpq("fill --checkpoint {}/other --in {}/texts.txt");
  EXPECT_EQ(classifier.code, 2);
  EXPECT_NE(classifier.err.find("no masked language model"), std::string::npos) << classifier.err;
}

TEST_F(PretrainTest, WhatCannotBeIsRefused) {
  for (const auto& [arguments, word] :
       std::vector<std::pair<std::string, std::string>>{{"--mask 0", "mask"},
                                                        {"--mask 0.95", "mask"},
                                                        {"--sequence 2", "sequence"},
                                                        {"--sequence 128 --long-sequence 64", "long-sequence"},
                                                        {"--long-share 1.5", "long-share"},
                                                        {"--held-out 1", "held-out"},
                                                        {"--epochs -1", "epochs"},
                                                        {"--batch 1048576 --data synthetic --rows 20", "at most"},
                                                        {"--data {}/nowhere", "no such file"},
                                                        {"--resume", "out"},
                                                        {"--init {}/nowhere", "nowhere"}}) {
    const Outcome outcome = mpq("pretrain " + arguments);
    EXPECT_EQ(outcome.code, 2) << arguments << "\n" << outcome.err;
    EXPECT_NE(outcome.err.find(word), std::string::npos) << arguments << "\n" << outcome.err;
  }
  ASSERT_EQ(pretrain("short", "--epochs 0").code, 0);
  const Outcome too_long = mpq("pretrain --data synthetic --rows 20 --init {}/short --long-sequence 600");
  EXPECT_EQ(too_long.code, 2);
  EXPECT_NE(too_long.err.find("512 positions"), std::string::npos) << too_long.err;
}

}  // namespace
}  // namespace mpq
