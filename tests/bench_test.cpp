// mpq bench, short: it runs, and its result says what other programs read.
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "app/bench.h"
#include "app/timed_ops.h"
#include "base/file.h"
#include "base/text.h"
#include "tests/temporary_folder.h"

namespace mpq {
namespace {

nlohmann::json last_line(const std::string& arguments) {
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  EXPECT_EQ(std::system((std::string(MPQ_BINARY) + " bench " + arguments + " --quick --json >" + out).c_str()), 0);
  const std::string text = read_file(out);
  return nlohmann::json::parse(split(trim(text), '\n').back());
}

TEST(Bench, SamplerReportsTheAskTime) {
  const auto result = last_line("sampler");
  EXPECT_GT(result.at("ceiling").at("core_gflops"), 1);
  EXPECT_GT(result.at("ceiling").at("copy_gb_per_s"), 0.1);
  ASSERT_EQ(result.at("sampler").size(), 2);
  for (const auto& row : result.at("sampler")) {
    EXPECT_EQ(row.at("trials"), 100);
    EXPECT_EQ(row.at("parameters"), 14);
    EXPECT_GT(row.at("ask_ms"), 0);
    EXPECT_LT(row.at("best_value"), 1);  // no trial is better than all best choices, 0
  }
  EXPECT_FALSE(result.contains("train"));
}

TEST(Bench, TrainReportsRatesSharesAndWhereTheTimeGoes) {
  const auto result = last_line("train eval --model 2,32,2,64");
  const auto& train = result.at("train").at(0);
  EXPECT_GT(train.at("train_rows_per_s"), 0);
  EXPECT_GT(train.at("share"), 0);
  EXPECT_GT(train.at("peak_memory_mb"), 1);
  EXPECT_NEAR(train.at("tokens_per_row"), 275.3, 30);
  EXPECT_GT(result.at("eval").at(0).at("eval_rows_per_s"), 0);
  std::set<std::string> ops;
  for (const auto& row : result.at("train_ops")) {
    ops.insert(row.at("op"));
    EXPECT_GE(row.at("ms_per_step"), 0) << row.at("op");
    if (row.at("op") == "outside of the ops") continue;
    EXPECT_GT(row.at("gb_per_s"), 0) << row.at("op");
    EXPECT_GT(row.at("ceiling_share"), 0) << row.at("op");
  }
  for (const char* op : {"attention", "attention cls", "linear_grad 64x32", "adamw_rows", "outside of the ops"})
    EXPECT_TRUE(ops.count(op)) << op;
}

// On the CPU the device's run is the reference run again. The mirrored model is the same function.
TEST(Bench, FollowComparesLosses) {
  const auto rows = last_line("follow --model 2,32,2,64").at("follow");
  ASSERT_EQ(rows.size(), 3);
  EXPECT_LT(rows[0].at("largest"), 1e-6);
  EXPECT_LE(rows[0].at("mean"), rows[0].at("largest"));
  for (int i : {1, 2}) EXPECT_EQ(rows[i].at("largest"), 0);
  EXPECT_EQ(rows[1].at("ratio"), 0);
  EXPECT_EQ(rows[1].at("within"), true);
}

TEST(Bench, FormatsFindsNoMismatch) {
  const auto rows = last_line("formats").at("formats");
  EXPECT_GT(rows.size(), 30);
  for (const auto& row : rows) {
    EXPECT_EQ(row.at("patterns"), 1 << 22);
    EXPECT_EQ(row.at("mismatches"), 0) << row.at("format");
  }
}

TEST(Bench, TimedOpsCountsTheProductsOfItsShapes) {
  const auto device = open_device("cpu");
  TimedDevice timed(*device);
  Arena arena = timed.reserve(1 << 20);
  const int32_t starts[] = {0, 3, 8};
  const Linear1 op{.ragged = {starts, 2, 8, 5},
                   .x = arena.tensor({8, 16}),
                   .w = arena.tensor({32, 16}),
                   .bias = arena.tensor({32}),
                   .y = arena.tensor({8, 32})};
  for (const Tensor& t : {op.x, op.w, op.bias}) timed.ops().fill(t, 1.0f);
  timed.ops().linear({&op, 1});
  timed.ops().linear({&op, 1});
  EXPECT_EQ(op.y.f32()[0], 17.0f);
  const TimedOps::Cost cost = timed.ops().costs().at("linear 32x16");
  EXPECT_EQ(cost.calls, 2);
  EXPECT_EQ(cost.work.flops, 2 * 2.0 * 8 * 32 * 16);
  EXPECT_EQ(cost.work.bytes, 2 * sizeof(float) * (8 * 16 + 32 * 16 + 32 + 8 * 32));
  EXPECT_EQ(timed.ops().costs().at("fill").calls, 3);
}

// Q, K and V of one launch read x once; the rows of a bucket that are not there count for nothing.
TEST(Bench, CostsAreOfTheRowsThatAreThere) {
  const auto device = open_device("cpu");
  const DeviceMemory memory(*device, 1 << 20);
  Arena arena = memory.arena();
  const int32_t starts[] = {0, 3, 8};
  const Ragged ragged{starts, 2, 64, 64};
  const Tensor x = arena.tensor({64, 16}), w = arena.tensor({32, 16}), y = arena.tensor({64, 32});
  std::vector<Linear1> qkv(3, {.ragged = ragged, .x = x, .w = w, .y = y});
  for (Linear1& op : qkv) op.w = arena.tensor({32, 16}), op.y = arena.tensor({64, 32});
  const OpCost forward = cost_of(*device, std::span<const Linear1>(qkv));
  EXPECT_EQ(forward.flops, 3 * 2.0 * 8 * 32 * 16);
  EXPECT_EQ(forward.bytes, sizeof(float) * (8 * 16 + 3 * (32 * 16 + 8 * 32)));
  const Linear1Grad grad{.forward = qkv[0], .dy = y, .dx = x, .accumulate = true};  // dx only, added to
  const OpCost backward = cost_of(*device, std::span<const Linear1Grad>(&grad, 1));
  EXPECT_EQ(backward.flops, 2.0 * 8 * 32 * 16);
  EXPECT_EQ(backward.bytes, sizeof(float) * (8 * 32 + 32 * 16 + 2 * 8 * 16));
  const Attention attention{.keys = ragged, .queries = ragged, .heads = 2, .q = y, .k = y, .v = y, .context = y};
  EXPECT_EQ(cost_of(*device, attention).flops, 4.0 * 32 * (3 * 3 + 5 * 5));
}

TEST(Bench, TrialsAreComputedFromStepsAndEvaluations) {
  const auto row = last_line("trials --model 2,32,2,64 --replicas 2").at("trials").at(0);
  const double step_s = row.at("step_ms").get<double>() * 1e-3, eval_s = row.at("eval_s");
  EXPECT_GT(step_s, 0);
  EXPECT_GT(eval_s, 0);
  EXPECT_NEAR(row.at("epoch_s"), step_s * 25000 / 8, 1e-6 * row.at("epoch_s").get<double>());
  const double a_minute = 60 * 2 / (step_s * 25000 / 8 + eval_s);
  EXPECT_NEAR(row.at("trials_per_minute"), a_minute, 1e-6 * a_minute);
}

TEST(Bench, UnknownNamesAndBadLengthsAreUserErrors) {
  const TemporaryFolder folder;
  write_file_atomic(folder / "lengths", "12\nmany\n");
  const auto code = [](const std::string& arguments) {
    return WEXITSTATUS(std::system((std::string(MPQ_BINARY) + " bench " + arguments + " 2>/dev/null").c_str()));
  };
  EXPECT_EQ(code("sampel"), 2);
  EXPECT_EQ(code("train --lengths " + (folder / "lengths").string()), 2);
}

TEST(Bench, TheMedianAndTheBestAreOfTheCalls) {
  int calls = 0;
  const Timing t = time_calls(0, [&] { ++calls; });
  EXPECT_EQ(calls, 4);  // one to warm up
  EXPECT_EQ(t.repetitions, 3);
  EXPECT_LE(t.best, t.median);
}

}  // namespace
}  // namespace mpq
