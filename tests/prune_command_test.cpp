// mpq prune: points from options; one model, a sweep, and a sweep that was killed.
#include <gtest/gtest.h>

#include "app/prune_report.h"
#include "base/safetensors.h"
#include "tests/run_mpq.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

PruneOptions options(const std::string& sparsities, const std::string& methods = "l1") {
  PruneOptions o;
  o.train.init = "base";
  o.sparsities = sparsities, o.methods = methods;
  return o;
}
std::vector<std::string> names(const PruneOptions& o) {
  std::vector<std::string> all;
  for (const PrunePoint& point : prune_points(o)) all.push_back(point.name());
  return all;
}

TEST(PrunePoints, OneModelHasNoControlUnlessAsked) {
  PruneOptions o = options("0.5");
  EXPECT_EQ(names(o), (std::vector<std::string>{"dense seed 42", "l1 0.5 seed 42", "l1 0.5 fine-tuned seed 42"}));
  EXPECT_TRUE(is_single(prune_points(o)));
  o.control = true;
  EXPECT_EQ(names(o)[2], "dense fine-tuned seed 42");
  EXPECT_EQ(names(o).size(), 4u);
  EXPECT_TRUE(is_single(prune_points(o)));
  o.control = false, o.train.epochs = 0;
  EXPECT_EQ(names(o).size(), 2u);
}

TEST(PrunePoints, SeveralAreASweepBesideTheControl) {
  PruneOptions o = options("0.1:0.9:0.1", "l1,random");
  o.seeds = 3;
  const auto points = prune_points(o);
  EXPECT_EQ(points.size(), 3u * 2 * (1 + 18));
  EXPECT_FALSE(is_single(points));
  for (size_t i = 1; i < 10; ++i) EXPECT_EQ(points[i].sparsity, static_cast<float>(i) / 10) << "as typed by hand";
  EXPECT_EQ(points.back().seed, 44u);
  EXPECT_FALSE(is_single(prune_points(options("0.25,0.75"))));
}

TEST(PrunePoints, BadListsAreRefused) {
  for (const char* text : {"1", "-0.1", "0.5,0.5", "0.5,", "", "x", "nan", "0.1:0.9", "0.1:1:0.1", "0.1:0.9:0",
                           "0.9:0.1:0.1", "0.1:0.5:-0.1", "0.1:0.5:1e-300"})
    EXPECT_THROW(prune_points(options(text)), UserError) << text;
  for (const char* text : {"", "l2", "none", "l1,l1", "l1,"})
    EXPECT_THROW(prune_points(options("0.5", text)), UserError) << text;
  PruneOptions o = options("0.5");
  o.train.init.clear();
  EXPECT_THROW(prune_points(o), UserError);
}

TEST(PrunePoints, SayWhatIsPruned) {
  const Bert model(BertConfig{.layers = 1, .hidden = 16, .heads = 2, .ffn = 32, .vocabulary = 20});
  PruneOptions o = options("0.5");
  const auto text = [&] { return to_text(pruning_of(prune_points(o).back(), o, model), model); };
  EXPECT_EQ(text(), "weights l1(sparsity=0.5,scope=local) activations l1(sparsity=0.5,scope=row) linears all seed 42");
  o.weights = true, o.scope = "global", o.linears = {"encoder.*.query", "classifier"};
  EXPECT_EQ(text(),
            "weights l1(sparsity=0.5,scope=global) activations none linears "
            "bert.encoder.layer.0.attention.self.query,classifier seed 42");
  o = options("0.5", "random"), o.activations = true;
  EXPECT_EQ(text(), "weights none activations random(sparsity=0.5) linears all seed 42");
  o = options("0.5"), o.pattern = "1:4";
  EXPECT_EQ(text(), "weights l1(pattern=1:4) activations l1(sparsity=0.75,scope=row) linears all seed 42");
  o.linears = {"nothing"};
  EXPECT_THROW(text(), UserError);
}

TEST(PruneReport, MeansAndCurves) {
  std::vector<PruneResult> results;
  for (const uint64_t seed : {1, 2})
    for (const bool tuned : {false, true}) {
      results.push_back({{tuned, PruneMethod::none, 0, seed}, tuned ? 0.9 : 0.8});
      for (const float s : {0.3f, 0.6f})
        results.push_back(
            {{tuned, PruneMethod::l1, s, seed}, (tuned ? 0.5 : 0.25) + 0.125 * static_cast<double>(seed)});
    }
  const auto means = means_of(results);
  ASSERT_EQ(means.size(), 3u);
  EXPECT_EQ(means[0].method, PruneMethod::none);
  EXPECT_EQ(means[2].tuned, (std::vector<double>{0.625, 0.75}));
  const Figure figure = prune_figure(means, options("0.3,0.6"), true);
  ASSERT_EQ(figure.curves.size(), 4u);
  EXPECT_EQ(figure.curves[0].name, "l1, fine-tuned 5 epochs");
  EXPECT_EQ(figure.curves[0].y[1], 0.6875);
  EXPECT_LT(figure.curves[0].low[1], 0.625);
  EXPECT_EQ(figure.curves[2].look, Curve::Look::control);
  EXPECT_EQ(figure.curves[2].x, (std::vector<double>{0.3f, 0.6f}));
  EXPECT_NE(table_text(results).find("-0.2125"), std::string::npos) << "against the control's mean";
}

class PruneCommandTest : public RunMpq {
 protected:
  const std::string data_ = "--data synthetic --rows 160 --max-tokens 24 --batch 16 --lr 1e-3 --dropout 0 ";
  void train_base() {
    const Outcome base = mpq("train " + data_ + "--model 1,16,2,32 --epochs 2 --out {}/base");
    ASSERT_EQ(base.code, 0) << base.err;
  }
  Outcome prune(const std::string& options) { return mpq("prune --init {}/base " + data_ + options); }
  double eval(const std::string& model) {
    const Outcome outcome =
        mpq("eval --checkpoint {}/" + model + " --data synthetic --rows 160 --max-tokens 24 --json");
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.result()["accuracy"].get<double>();
  }
};

TEST_F(PruneCommandTest, OneModelKeepsItsZerosAndItsAccuracy) {
  train_base();
  for (const char* method : {"l1", "random"}) {
    SCOPED_TRACE(method);
    const Outcome outcome =
        prune(std::string("--sparsity 0.25 --epochs 1 --seed 7 --out {}/pruned --json --method ") + method);
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(outcome.result()["points"][0]["pruned"][0].get<double>(), eval("base"));
    const auto point = outcome.result()["points"][1];
    EXPECT_EQ(eval("pruned"), point["fine_tuned"][0].get<double>()) << "mpq eval goes on pruning, by the same masks";
    const SafeTensors file(path("pruned/model.safetensors"));
    int64_t zeros = 0, all = 0;
    for (const auto& e : file.entries())
      if (e.name.starts_with("bert.encoder.") && e.shape.size() == 2)
        for (const float v : file.read_f32(e.name)) zeros += v == 0, ++all;
    EXPECT_NEAR(static_cast<double>(zeros) / static_cast<double>(all), 0.25, method[0] == 'l' ? 0.01 : 0.05);
    for (const auto& entry : fs::directory_iterator(path("")))
      EXPECT_EQ(entry.path().string().find("running"), std::string::npos) << entry.path();
  }
  const Outcome more = mpq("train " + data_ + "--init {}/pruned --epochs 1 --out {}/more");
  ASSERT_EQ(more.code, 0) << more.err;
  EXPECT_EQ(file("more/masks.safetensors"), file("pruned/masks.safetensors"));
}

TEST_F(PruneCommandTest, PruningAloneWithAFormat) {
  train_base();
  const Outcome outcome =
      prune("--pattern 2:4 --weights --epochs 0 --format \"integer(width=8,frac=6)\" --out {}/pruned --json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto point = outcome.result()["points"][1];
  EXPECT_FALSE(point.contains("fine_tuned"));
  EXPECT_EQ(eval("pruned"), point["pruned"][0].get<double>());
  const std::string info = file("pruned/mpq.json");
  EXPECT_NE(info.find("l1(pattern=2:4)"), std::string::npos);
  EXPECT_NE(info.find("integer(width=8,frac=6)"), std::string::npos);
}

TEST_F(PruneCommandTest, AKilledSweepGoesOn) {
  train_base();
  const std::string sweep = "--sparsity 0.2,0.8 --method l1,random --seeds 2 --epochs 1 --out ";
  const Outcome whole = prune(sweep + "{}/whole");
  ASSERT_EQ(whole.code, 0) << whole.err;
  const Process process = start("prune --init {}/base " + data_ + sweep + "{}/killed");
  interrupt(process, SIGKILL, [&] {  // some points are there
    const fs::path err = path(process.name + ".err");
    return fs::exists(err) && read_file(err).find("[4/20]") != std::string::npos;
  });
  const Outcome again = prune(sweep + "{}/killed");
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(again.err.find(" 0 finished already"), std::string::npos) << again.err;
  EXPECT_EQ(file("killed/table.tsv"), file("whole/table.tsv"));
  EXPECT_NE(file("whole/table.tsv").find("dense"), std::string::npos);
  EXPECT_TRUE(fs::exists(path("whole/accuracy_by_sparsity.tsv")));
  const Outcome other = prune("--sparsity 0.2,0.8 --method l1,random --seeds 2 --epochs 2 --out {}/whole");
  EXPECT_EQ(other.code, 2) << "the folder holds another sweep";
}

TEST_F(PruneCommandTest, BadInputIsTheUsers) {
  train_base();
  for (const char* bad : {"--sparsity 1", "--sparsity 0.5 --pattern 2:4", "--method l3", "--linear nothing",
                          "--pattern 3:7", "--pattern 5:4", "--seeds 0"}) {
    const Outcome outcome = prune(std::string(bad) + " --epochs 0 --out {}/bad");
    EXPECT_EQ(outcome.code, 2) << bad << "\n" << outcome.err;
    EXPECT_NE(outcome.err.find("hint:"), std::string::npos) << outcome.err;
  }
  EXPECT_EQ(mpq("prune --out {}/bad").code, 2);
}

}  // namespace
}  // namespace mpq
