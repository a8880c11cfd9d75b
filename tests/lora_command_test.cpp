// mpq train --lora, mpq lora and mpq merge as a user meets them.
#include "tests/run_mpq.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

class LoraCommandTest : public RunMpq {
 protected:
  const std::string data_ = "--json --data synthetic --rows 160 --max-tokens 32 --lr 1e-2 ";
  void SetUp() override { ASSERT_EQ(mpq("train " + data_ + "--model 1,16,2,32 --epochs 2 --out {}/base").code, 0); }

  Outcome lora(const std::string& out, const std::string& more) {
    return mpq("train " + data_ + "--init {}/base --out {}/" + out + " " + more);
  }
  Outcome eval(const std::string& more) { return mpq("eval --json --data synthetic --rows 160 " + more); }
  void expect_same(const std::string& a, const std::string& b) {
    EXPECT_TRUE(file(a + "/adapter_model.safetensors") == file(b + "/adapter_model.safetensors")) << a << " " << b;
  }
};

TEST_F(LoraCommandTest, TrainsEvaluatesAndMerges) {
  const std::string settings = "--lora rank=4,alpha=8,dropout=0.1,targets=query,output.dense ";
  const Outcome trained = lora("adapter", settings);
  ASSERT_EQ(trained.code, 0) << trained.err;
  // 16 x 16 twice and 16 x 32 once, of rank 4; the classifier's 34
  EXPECT_EQ(trained.result().at("trained_parameters"), 4 * (32 + 32 + 48) + 34);
  const auto with = eval("--checkpoint {}/base --adapter {}/adapter").result();
  EXPECT_EQ(with.at("accuracy"), trained.result().at("test_accuracy"));
  ASSERT_EQ(lora("merged", settings + "--merge").code, 0);
  ASSERT_EQ(mpq("merge --checkpoint {}/base --adapter {}/adapter --out {}/folded").code, 0);
  EXPECT_TRUE(file("merged/model.safetensors") == file("folded/model.safetensors"));
  EXPECT_FALSE(fs::exists(path("merged/adapter_config.json")));
  const auto merged = eval("--checkpoint {}/merged").result();
  EXPECT_EQ(merged.at("accuracy"), with.at("accuracy"));
  EXPECT_NEAR(merged.at("loss").get<double>(), with.at("loss").get<double>(), 1e-6);
  const auto inspected = mpq("inspect --json --checkpoint {}/base --adapter {}/adapter").result();
  EXPECT_EQ(inspected.at("adapter_parameters"), 4 * (32 + 32 + 48));
  EXPECT_EQ(inspected.at("trained_parameters"), trained.result().at("trained_parameters"));
}

TEST_F(LoraCommandTest, GoesOnFromAnAdapter) {
  ASSERT_EQ(lora("first", "--lora rank=2 --epochs 1").code, 0);
  const Outcome still = lora("still", "--adapter {}/first --epochs 0");
  ASSERT_EQ(still.code, 0) << still.err;
  expect_same("first", "still");
  ASSERT_EQ(lora("more", "--adapter {}/first --epochs 1").code, 0);
  EXPECT_FALSE(file("first/adapter_model.safetensors") == file("more/adapter_model.safetensors"));
}

TEST_F(LoraCommandTest, InterruptedAndResumedItEndsWithTheSameBits) {
  const std::string recipe =
      "--epochs 20 --checkpoint-every 20 --lora rank=3,dropout=0.1 --format \"integer(width=8,frac=5)\" ";
  ASSERT_EQ(lora("whole", recipe).code, 0);
  const auto begun = [this] { return fs::exists(path("killed/training_state.json")); };
  const std::string command = "train " + data_ + "--init {}/base --out {}/killed " + recipe;
  EXPECT_EQ(interrupt(start(command), SIGKILL, begun).code, 128 + SIGKILL);
  EXPECT_EQ(lora("killed", recipe + "--resume --lora rank=2").code, 2);
  const Outcome resumed = lora("killed", recipe + "--resume");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  expect_same("whole", "killed");
  EXPECT_EQ(file("whole/loss.tsv"), file("killed/loss.tsv"));
}

// A sweep trains what mpq train trains, each as if it were alone, and goes on where it was stopped.
TEST_F(LoraCommandTest, SeveralRanksSideBySide) {
  const std::string sweep = "lora " + data_ + "--init {}/base --epochs 10 --lora rank=1:5,alpha=4 --seeds 42,7 ";
  const Outcome outcome = mpq(sweep + "--out {}/ranks");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.result().at("rank"), 5);
  EXPECT_EQ(outcome.result().at("seed"), 7);
  for (const char* rank : {"1", "5"}) {
    ASSERT_EQ(lora(rank, std::string("--epochs 10 --lora alpha=4,rank=") + rank).code, 0);
    expect_same(rank, std::string("ranks/rank") + rank + "_alpha4_seed42");
  }
  EXPECT_NE(file("ranks/lora.tsv").find("\n5\t4\t7\t"), std::string::npos);
  EXPECT_TRUE(fs::exists(path("ranks/accuracy_by_rank.tsv")));
  const auto begun = [this] { return fs::exists(path("stopped/rank5_alpha4_seed7/training_state.json")); };
  EXPECT_EQ(interrupt(start(sweep + "--checkpoint-every 10 --out {}/stopped"), SIGINT, begun).code, 130);
  const Outcome resumed = mpq(sweep + "--checkpoint-every 10 --resume --out {}/stopped");
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  for (const char* one : {"rank1_alpha4_seed42", "rank5_alpha4_seed7"})
    expect_same(std::string("ranks/") + one, std::string("stopped/") + one);
}

TEST_F(LoraCommandTest, BadInputIsAUserError) {
  for (const auto& [options, words] :
       std::vector<std::pair<std::string, std::string>>{{"--lora rank=0", "rank is 0"},
                                                        {"--lora rank=2.5", "rank is 2.5"},
                                                        {"--lora rank=17", "ranks up to 16"},
                                                        {"--lora rank=x", "rank is x"},
                                                        {"--lora rank=2:4", "mpq lora"},
                                                        {"--lora rank=2,targets=querry", "did you mean query?"},
                                                        {"--lora targets=classifier", "trained whole"},
                                                        {"--lora rank=2,speed=3", "speed=3"},
                                                        {"--lora dropout=1", "dropout is 1"},
                                                        {"--lora query", "rank, alpha, dropout and targets"},
                                                        {"--merge", "no adapter"},
                                                        {"--adapter {}/base", "adapter_config.json"},
                                                        {"--adapter {}/base --lora rank=2", "both"}}) {
    const Outcome outcome = lora("out", options);
    EXPECT_EQ(outcome.code, 2) << options;
    EXPECT_NE(outcome.err.find(words), std::string::npos) << options << "\n" << outcome.err;
  }
  const Outcome alone = mpq("train " + data_ + "--lora rank=2");
  EXPECT_EQ(alone.code, 2);
  EXPECT_NE(alone.err.find("--init DIR"), std::string::npos) << alone.err;
  EXPECT_EQ(mpq("lora " + data_ + "--init {}/base --seeds 1,x").code, 2);
  EXPECT_EQ(mpq("lora " + data_ + "--init {}/base --lora rank=2:4,alpha=1:2:3").code, 2);
  EXPECT_FALSE(fs::exists(path("out")));
}

}  // namespace
}  // namespace mpq
