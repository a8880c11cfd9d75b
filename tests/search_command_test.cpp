// mpq search as a user meets it: complete, cached, killed and continued, shared by two processes.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "quant/linear_spec.h"
#include "search/storage.h"
#include "tests/devices.h"
#include "tests/run_mpq.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

class SearchCommandTest : public RunMpq {
 protected:
  static constexpr const char* small =
      " --valid 0.25 --rows 64 --max-tokens 24 --model 1,16,2,32 --batch 16 --lr 1e-3 --data {}/data.tsv --test "
      "{}/test.tsv ";

  SearchCommandTest() {
    for (const auto& [name, rows] : {std::pair{"data.tsv", 96}, {"test.tsv", 48}}) {
      std::string text = "text\tlabel\n";
      for (int i = 0; i < rows; ++i)
        text += fmt::format("the {} number {} of {} was {}\t{}\n", i % 3 ? "plot" : "cast", i, name,
                            i % 2 ? "superb" : "dull", i % 2 ? "good" : "bad");
      write_file_atomic(path(name), text);
    }
  }

  std::string command(const std::string& out, const std::string& more) const {
    return "search" + std::string(small) + more + " --out {}/" + out;
  }
  Outcome search(const std::string& out, const std::string& more, const std::string& before = "") {
    return mpq(command(out, more), before);
  }
  std::vector<FrozenTrial> trials(const std::string& out, const std::string& study) const {
    const auto storage = open_storage("sqlite:///" + (path(out) / "study.db").string(), OpenMode::existing);
    return storage->read_trials(storage->read_study("search-" + study).id, 0);
  }
  int finished(const std::string& out, const std::string& study) const {
    if (!fs::exists(path(out) / "study.db")) return 0;
    try {
      int n = 0;
      for (const FrozenTrial& t : trials(out, study)) n += t.finished();
      return n;
    } catch (const std::exception&) {  // not created yet
      return 0;
    }
  }
  // The table without its times.
  std::string table(const std::string& out) const {
    const std::string text = file(out + "/table.tsv");
    const auto lines = split(trim(text), '\n');
    const auto header = split(lines[0], '\t');
    const auto times = static_cast<size_t>(std::find(header.begin(), header.end(), "seconds") - header.begin());
    EXPECT_LT(times, header.size());
    std::string kept;
    for (const std::string_view line : lines) {
      const auto cells = split(line, '\t');
      for (size_t i = 0; i < cells.size(); ++i)
        if (i != times) kept += std::string(cells[i]) + '\t';
      kept += '\n';
    }
    return kept;
  }
  // Parameters and results of every trial, all tables, and the winners' models.
  void expect_same_search(const std::string& a, const std::string& b, const std::vector<std::string>& studies) const {
    EXPECT_EQ(table(a), table(b));
    for (const char* name : {"/trials.tsv", "/winners.tsv"}) EXPECT_EQ(file(a + name), file(b + name));
    for (const std::string& study : studies) {
      const auto of_a = trials(a, study), of_b = trials(b, study);
      ASSERT_EQ(of_a.size(), of_b.size());
      for (size_t i = 0; i < of_a.size(); ++i) {
        EXPECT_TRUE(of_a[i].same_params(of_b[i])) << study << " trial " << i;
        EXPECT_EQ(of_a[i].values, of_b[i].values) << study << " trial " << i;
      }
      const std::string models = "/models/search-" + study;
      for (const auto& entry : fs::directory_iterator(path(a + models))) {
        const std::string model = models + "/" + entry.path().filename().string() + "/model.safetensors";
        EXPECT_TRUE(fs::exists(path(b + model)) && file(a + model) == file(b + model)) << model;
      }
    }
  }
};

TEST_F(SearchCommandTest, EveryFamilyInOneTableAgainAndAgain) {
  const Outcome all = search("all", "--family all --trials 2 --json");
  ASSERT_EQ(all.code, 0) << all.err;
  std::set<std::string> families;
  const nlohmann::json result = all.result();
  for (const auto& r : result.at("results")) families.insert(r.at("family"));
  EXPECT_EQ(families.size(), mpq::families().size());
  EXPECT_NE(all.err.find("estimated: at most"), std::string::npos) << all.err;
  EXPECT_NE(all.err.find("of memory"), std::string::npos);
  for (const char* name : {"best_so_far.tsv", "pareto.tsv", "winners.tsv", "trials.tsv"})
    EXPECT_FALSE(file(std::string("all/") + name).empty());
  const std::string before = table("all");
  EXPECT_EQ(search("all", "--family all --trials 2").code, 0);
  EXPECT_EQ(table("all"), before);
}

TEST_F(SearchCommandTest, KilledAndContinuedItEndsWithTheSameTable) {
  const std::string what =
      "--family integer,binary_residual --mode per-layer --trials 6 --parallel 2 --epochs 4 --checkpoint-every 3";
  ASSERT_EQ(search("whole", what).code, 0);
  const auto halfway = [&] { return finished("killed", "binary_residual") >= 3; };
  interrupt(start(command("killed", what)), SIGKILL, halfway);
  const int kept = finished("killed", "binary_residual");
  EXPECT_GE(kept, 3);
  const auto completed = trials("killed", "binary_residual")[0].completed;
  const Outcome stopped =
      interrupt(start(command("killed", what)), SIGINT, [&] { return finished("killed", "binary_residual") > kept; });
  EXPECT_EQ(stopped.code, 130) << stopped.err;
  ASSERT_EQ(search("killed", what).code, 0);
  EXPECT_EQ(trials("killed", "binary_residual")[0].completed, completed) << "a finished trial ran again";
  EXPECT_EQ(table("killed"), table("whole"));
  for (const auto& entry : fs::directory_iterator(path("killed") / "running")) ADD_FAILURE() << entry.path();
}

TEST_F(SearchCommandTest, ALongTrialGoesOnFromItsCheckpoint) {
  const std::string what = "--family binary_residual --trials 1 --epochs 40 --checkpoint-every 20";
  ASSERT_EQ(search("whole", what).code, 0);
  interrupt(start(command("killed", what)), SIGKILL,
            [&] { return fs::exists(path("killed") / "running/search-binary_residual-0/training_state.json"); });
  const int64_t step =
      nlohmann::json::parse(file("killed/running/search-binary_residual-0/training_state.json")).at("step");
  EXPECT_GE(step, 20);
  ASSERT_EQ(search("killed", what).code, 0);
  EXPECT_EQ(table("killed"), table("whole"));
  const char* model = "/models/search-binary_residual/trial-0/model.safetensors";
  EXPECT_TRUE(file("whole" + std::string(model)) == file("killed" + std::string(model)));
}

TEST_F(SearchCommandTest, SharingASessionChangesNoResult) {
  const std::string what =
      "--family integer,block_log,binary_residual --mode per-layer --trials 5 --parallel 2 --epochs 3 --confirm 2";
  ASSERT_EQ(search("one", what + " --replicas 1").code, 0);
  const Outcome three = search("three", what + " --replicas 3");
  ASSERT_EQ(three.code, 0) << three.err;
  EXPECT_NE(three.err.find("3 trial(s) at once"), std::string::npos) << three.err;
  expect_same_search("one", "three", {"none", "integer", "block_log", "binary_residual"});
  EXPECT_EQ(trials("one", "integer")[1].user_attrs.at("mpq:replicas"), "1");
  EXPECT_EQ(trials("three", "integer")[1].user_attrs.at("mpq:replicas"), "3");
}

#ifdef MPQ_LOSING_GPU
// A kernel faults in mid-run, on a real GPU (tests/lost_gpu).
TEST_F(SearchCommandTest, ALostGpuIsTheUsersErrorAndFinishedTrialsStay) {
  if (!open_or_null("cuda")) {
    ASSERT_FALSE(is_required("cuda")) << "cuda is required, and not here";
    GTEST_SKIP() << "no cuda here";
  }
  const std::string what = "--family integer --trials 8 --epochs 400 --device cuda";
  ASSERT_EQ(search("whole", what).code, 0);
  binary_ = MPQ_LOSING_GPU;
  const Outcome lost =
      interrupt(start(command("lost", what)), SIGUSR1, [&] { return finished("lost", "integer") >= 2; });
  EXPECT_EQ(lost.code, 2) << lost.err;
  EXPECT_NE(lost.err.find("error: CUDA"), std::string::npos) << lost.err;
  EXPECT_NE(lost.err.find("hint: the GPU stopped"), std::string::npos) << lost.err;
  const int kept = finished("lost", "integer");
  EXPECT_GE(kept, 2);
  EXPECT_LT(kept, 8);
  binary_ = MPQ_BINARY;
  ASSERT_EQ(search("lost", what).code, 0);
  expect_same_search("whole", "lost", {"none", "integer"});
}
#endif
TEST_F(SearchCommandTest, KilledInMidWaveEveryTrialGoesOn) {
  const std::string what =
      "--family integer,binary_residual --mode per-layer --trials 2 --parallel 2 --epochs 30 --checkpoint-every 40 "
      "--replicas 3";
  ASSERT_EQ(search("whole", what).code, 0);
  const auto state = [&](const std::string& trial) {
    return "killed/running/search-" + trial + "/training_state.json";
  };
  interrupt(start(command("killed", what)), SIGKILL, [&] { return fs::exists(path(state("integer-1"))); });
  for (const char* trial : {"none-0", "integer-0", "integer-1"}) {  // the first session
    ASSERT_TRUE(fs::exists(path(state(trial)))) << trial;
    EXPECT_GE(nlohmann::json::parse(file(state(trial))).at("step"), 40) << trial;
  }
  ASSERT_EQ(search("killed", what).code, 0);
  expect_same_search("whole", "killed", {"none", "integer", "binary_residual"});
  for (const auto& entry : fs::directory_iterator(path("killed") / "running")) ADD_FAILURE() << entry.path();
}

TEST_F(SearchCommandTest, TwoProcessesShareAStudy) {
  const std::string what = "--family integer --mode per-layer --trials 8 --sampler random --epochs 3";
  const Process one = start(command("shared", what)), two = start(command("shared", what));
  const Outcome first = finish(one), second = finish(two);
  EXPECT_EQ(first.code, 0) << first.err;
  EXPECT_EQ(second.code, 0) << second.err;
  const auto all = trials("shared", "integer");
  ASSERT_EQ(all.size(), 8u);
  for (const FrozenTrial& t : all) EXPECT_EQ(t.state, TrialState::complete);
}

TEST_F(SearchCommandTest, DuplicatesAreAnsweredFromTheCache) {
  ASSERT_EQ(
      search("layers", "--family binary --mode per-layer --sampler random --trials 40 --parallel 40 --epochs 0.5").code,
      0);
  std::set<std::string> seen;
  int same = 0;
  for (const FrozenTrial& t : trials("layers", "binary")) {
    std::string key;
    for (const TrialParameter& p : t.params) key += fmt::format("{} ", p.value);
    const bool repeated = !seen.insert(key).second;
    EXPECT_EQ(t.user_attrs.contains("mpq:same_as"), repeated);
    same += repeated;
  }
  RecordProperty("duplicates", same);
}

TEST_F(SearchCommandTest, ABudgetPrunesWithoutTraining) {
  const Outcome outcome = search("out", "--space lab3-task1 --trials 9 --max-bits 10 --sampler grid");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  int pruned = 0;
  for (const FrozenTrial& t : trials("out", "integer")) {
    ASSERT_EQ(t.constraints.size(), 1u);
    EXPECT_EQ(t.state == TrialState::pruned, t.constraints[0] > 0);
    EXPECT_EQ(t.user_attrs.contains("mpq:seconds"), t.state == TrialState::complete);
    pruned += t.state == TrialState::pruned;
  }
  EXPECT_EQ(pruned, 6);
  EXPECT_EQ(trials("out", "none")[0].state, TrialState::complete) << "the float control has no budget";
}

TEST_F(SearchCommandTest, EmbeddingsHaveFormatsAndTheBudgetCountsThem) {
  const std::string what = "--family integer --mode per-layer --embeddings --budget model --max-bits 14 --trials 12 ";
  const Outcome outcome = search("out", what + "--sampler random");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  int pruned = 0, quantized = 0;
  for (const FrozenTrial& t : trials("out", "integer")) {
    for (const char* table : {"word", "position", "token_type"})
      ASSERT_TRUE(t.find(fmt::format("bert.embeddings.{}_embeddings", table)));
    const double bits = parse_double(t.user_attrs.at("mpq:bits_per_parameter")).value();
    EXPECT_EQ(t.constraints, std::vector{bits - 14});
    pruned += t.state == TrialState::pruned, quantized += bits < 20;
  }
  EXPECT_GT(pruned, 0);
  EXPECT_GT(quantized, 0);
  EXPECT_NE(file("out/trials.tsv").find("bits/parameter"), std::string::npos);
  EXPECT_NE(file("out/winners.tsv").find("bert.embeddings.word_embeddings"), std::string::npos);
  const Outcome other = search("out", "--family integer --mode per-layer --trials 12 --sampler random");
  EXPECT_EQ(other.code, 2) << "another recipe";
  EXPECT_EQ(search("nas", "--space nas --embeddings").code, 2);
}

TEST_F(SearchCommandTest, OtherWaysToSearch) {
  ASSERT_EQ(mpq("train" + std::string(small) + "--out {}/model").code, 0);
  const Outcome ptq = search("ptq", "--family integer --trials 2 --epochs 0 --init {}/model");
  EXPECT_EQ(ptq.code, 0) << ptq.err;
  const Outcome test = search("test", "--family log --trials 1 --select test --confirm 2 --json");
  ASSERT_EQ(test.code, 0) << test.err;
  EXPECT_TRUE(test.result().at("results")[0].at("test_accuracy").is_null());
  EXPECT_EQ(test.result().at("results")[0].at("confirmed").size(), 2u);
}

constexpr const char* kSmallSpace = " --layers 1,2 --heads 1,2 --hidden 16 --ffn 16,32 ";

// Watching the test split changes nothing but what is known of it.
TEST_F(SearchCommandTest, AWatchedTestSplitSelectsNothing) {
  const std::string recipe = "--family integer,log --trials 4 --epochs 2 --confirm 1 ";
  ASSERT_EQ(search("plain", recipe).code, 0);
  const Outcome watched = search("watched", recipe + "--watch-test --json");
  ASSERT_EQ(watched.code, 0) << watched.err;
  EXPECT_EQ(table("watched"), table("plain"));
  EXPECT_FALSE(fs::exists(path("plain/selected.tsv")));
  const auto lines = split(trim(file("watched/selected.tsv")), '\n');
  EXPECT_EQ(lines.size(), 1u + 2 * 2) << file("watched/selected.tsv");
  for (const auto& study : watched.result().at("results")) {
    const auto name = study.at("family").get<std::string>();
    double best = 0;
    for (const FrozenTrial& t : trials("watched", name))
      best = std::max(best, parse_double(t.user_attrs.at("mpq:test")).value());
    const auto& on_test = study.at("best_on_test");
    EXPECT_EQ(on_test.at("test_accuracy"), best) << name;
    EXPECT_GE(best, study.at("test_accuracy").get<double>()) << name;
    EXPECT_EQ(on_test.at("confirmed").size(), 1u);
    if (on_test.at("trial") == study.at("winner")) {
      EXPECT_EQ(on_test.at("confirmed"), study.at("confirmed"));
    }
  }
  EXPECT_TRUE(fs::exists(path("watched/selection.gp")));
  EXPECT_TRUE(fs::exists(path("watched/seeds.gp")));
  EXPECT_EQ(search("both", "--family log --trials 1 --watch-test --select test").code, 2);
}

TEST_F(SearchCommandTest, ArchitecturesKilledAndContinuedEndWithTheSameTable) {
  const std::string what =
      "--space nas --sampler tpe,grid --trials 5 --parallel 2 --epochs 3 --checkpoint-every 6 "
      "--confirm 1" +
      std::string(kSmallSpace);
  ASSERT_EQ(search("whole", what).code, 0);
  interrupt(start(command("killed", what)), SIGKILL, [&] { return finished("killed", "nas-tpe") >= 3; });
  const Outcome rest = search("killed", what);
  ASSERT_EQ(rest.code, 0) << rest.err;
  expect_same_search("whole", "killed", {"control", "nas-tpe", "nas-grid"});
  for (const auto& entry : fs::directory_iterator(path("killed") / "running")) ADD_FAILURE() << entry.path();
  for (const FrozenTrial& t : trials("whole", "nas-tpe")) {
    EXPECT_NE(t.find("num_layers"), nullptr);
    EXPECT_GT(nlohmann::json::parse(t.user_attrs.at("mpq:parameters")), 0);
    EXPECT_GT(nlohmann::json::parse(t.user_attrs.at("mpq:multiply_adds")), 0);
  }
  EXPECT_EQ(trials("whole", "nas-grid")[0].params.size(), 4u) << "the grid is of the sizes alone";
}

TEST_F(SearchCommandTest, SharingASessionChangesNoArchitecturesResult) {
  const std::string what =
      "--space nas --sampler random,tpe --identity no --trials 6 --parallel 3 --epochs 2" + std::string(kSmallSpace);
  ASSERT_EQ(search("one", what + " --replicas 1").code, 0);
  ASSERT_EQ(search("many", what + " --replicas 8 --lanes 2").code, 0);
  expect_same_search("one", "many", {"control", "nas-random", "nas-tpe"});
}

TEST_F(SearchCommandTest, CompressedWithinTheTrialKilledAndContinued) {
  const std::string what =
      "--space nas-compression --trials 2 --epochs 4 --post-epochs 2 "
      "--confirm 1 --compress \"integer(width=6,frac=3)\" --json" +
      std::string(kSmallSpace);
  const Outcome whole = search("whole", what);
  ASSERT_EQ(whole.code, 0) << whole.err;
  interrupt(start(command("killed", what)), SIGKILL,
            [&] { return fs::exists(path("killed/running/search-nas-compressed-trained-1-float")); });
  ASSERT_EQ(search("killed", what).code, 0);
  expect_same_search("whole", "killed", {"control", "nas", "nas-compressed", "nas-compressed-trained"});
  EXPECT_TRUE(fs::is_empty(path("killed/running")));
  EXPECT_EQ(trials("whole", "nas-compressed")[0].user_attrs.at("mpq:bits"), "6.0");
  const auto result = whole.result().at("results");
  EXPECT_EQ(result[3].at("study"), "nas-compressed-trained");
  EXPECT_EQ(result[3].at("confirmed").size(), 1u);
  fs::remove_all(path("whole/models"));
  ASSERT_EQ(search("whole", what).code, 0) << "lost models are trained again, in both parts";
  expect_same_search("killed", "whole", {"control", "nas", "nas-compressed", "nas-compressed-trained"});
}

TEST_F(SearchCommandTest, AWinningArchitectureIsACheckpoint) {
  const Outcome outcome =
      search("out", "--space nas --trials 6 --max-parameters 10520 --json" + std::string(kSmallSpace));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto winner = outcome.result().at("results")[1];
  EXPECT_LE(winner.at("parameters"), 10520);
  int pruned = 0;
  for (const FrozenTrial& t : trials("out", "nas")) pruned += t.state == TrialState::pruned;
  EXPECT_GT(pruned, 0);
  const std::string model = fmt::format("{{}}/out/models/search-nas/trial-{}", winner.at("winner").get<int>());
  const Outcome eval = mpq("eval --checkpoint " + model + " --data {}/data.tsv --test {}/test.tsv --json");
  ASSERT_EQ(eval.code, 0) << eval.err;
  const Outcome inspect = mpq("inspect --checkpoint " + model + " --tokens 24 --json");
  ASSERT_EQ(inspect.code, 0) << inspect.err;
  EXPECT_EQ(inspect.result().at("multiply_adds"), winner.at("multiply_adds"));
}

TEST_F(SearchCommandTest, WhatCannotBeDoneSaysSoAndLeavesNothing) {
  for (const char* bad : {"--space nas --init nowhere", "--layers 2", "--space nas --hidden 24 --heads 16",
                          "--space nas-compression --compress nonsense", "--sampler tpe,magic", "--space nas --mode x",
                          "--space nas --family log", "--family nonsense", "--space nowhere", "--mode sideways",
                          "--device cuda:99", "--epochs 0", "--space lab3-task1 --family log"}) {
    const Outcome outcome = search("bad", bad);
    EXPECT_EQ(outcome.code, 2) << bad << outcome.err;
    EXPECT_NE(outcome.err.find("hint: "), std::string::npos) << bad << outcome.err;
  }
  EXPECT_FALSE(fs::exists(path("bad/table.tsv")));
  ASSERT_EQ(search("out", "--family log --trials 1").code, 0);
  const Outcome other = search("out", "--family log --trials 2 --dropout 0.2");
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("another recipe"), std::string::npos) << other.err;
  EXPECT_EQ(search("full", "--family log --trials 1", "trap '' XFSZ; ulimit -f 20;").code, 2);
}

}  // namespace
}  // namespace mpq
