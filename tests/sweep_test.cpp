// mpq sweep as a user meets it: its points are those of mpq train and mpq eval, a killed one goes on, and what it
// refuses. And frac=auto, --quantize-after elsewhere.
#include <fmt/format.h>

#include <map>

#include "base/safetensors.h"
#include "search/storage.h"
#include "tests/run_mpq.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

class SweepTest : public RunMpq {
 protected:
  static constexpr const char* data = " --data synthetic --rows 400 --max-tokens 32 --batch 16 ";
  static constexpr const char* qat = " --lr 5e-4 ";

  Outcome train(const std::string& out, const std::string& more) {
    return mpq("train --json" + std::string(data) + more + " --out {}/" + out);
  }
  std::string command(const std::string& out, const std::string& more) const {
    return "sweep" + std::string(data) + qat + more + " --out {}/" + out;
  }
  void base(const std::string& name, int seed) {
    ASSERT_EQ(train(name, fmt::format("--model 1,32,2,64 --lr 2e-3 --epochs 3 --seed {}", seed)).code, 0);
  }
  // Rows of a TSV by their first columns joined by spaces.
  std::vector<std::vector<std::string>> rows(const std::string& name) const {
    std::vector<std::vector<std::string>> rows;
    const std::string text = file(name);
    for (const std::string_view line : split(trim(text), '\n')) {
      rows.emplace_back();
      for (const std::string_view cell : split(line, '\t')) rows.back().emplace_back(cell);
    }
    rows.erase(rows.begin());
    return rows;
  }
  void expect_same_sweep(const std::string& a, const std::string& b) const {
    for (const char* name : {"/points.tsv", "/table.tsv", "/formats.tsv", "/accuracy_by_width.tsv"})
      EXPECT_EQ(file(a + name), file(b + name)) << name;
  }
  int finished(const std::string& out) const {
    if (!fs::exists(path(out) / "study.db")) return 0;
    try {
      const auto storage = open_storage("sqlite:///" + (path(out) / "study.db").string(), OpenMode::existing);
      int n = 0;
      for (const FrozenTrial& t : storage->read_trials(storage->read_study("sweep").id, 0)) n += t.finished();
      return n;
    } catch (const std::exception&) {  // not created yet
      return 0;
    }
  }
};

TEST_F(SweepTest, APointIsWhatTrainAndEvalGive) {
  base("base", 42);
  const std::string curves = "--init {}/base --widths 4,8 --seeds 2 ";
  const Outcome sweep = mpq(command("sweep", curves + "--json"));
  ASSERT_EQ(sweep.code, 0) << sweep.err;
  int compared = 0;
  for (const auto& row : rows("sweep/points.tsv")) {
    const std::string &mode = row[0], &format = row[1], &seed = row[3], &valid = row[5], &test = row[6];
    if (mode == "qat" && (seed == "43" || format.ends_with("half)"))) {
      const Outcome one =
          train("one", std::string(qat) + "--init {}/base --seed " + seed + " --format \"" + format + "\"");
      ASSERT_EQ(one.code, 0) << one.err;
      EXPECT_EQ(fmt::format("{:.5f}", one.result().at("test_accuracy").get<double>()), test) << format << seed;
      EXPECT_EQ(fmt::format("{:.5f}", one.result().at("valid_accuracy").get<double>()), valid) << format << seed;
      ++compared;
    }
    if (mode == "ptq") {
      const Outcome one =
          mpq("eval --json --checkpoint {}/base" + std::string(data).erase(std::string(data).find("--batch")) +
              "--format \"" + format + "\"");
      ASSERT_EQ(one.code, 0) << one.err;
      EXPECT_EQ(fmt::format("{:.5f}", one.result().at("accuracy").get<double>()), test) << format;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 5 + 2 + 5);
  std::map<std::string, double> mean;
  const nlohmann::json result = sweep.result();
  for (const auto& point : result.at("points"))
    mean[point.at("mode").get<std::string>() + " " + point.at("format").get<std::string>()] = point.at("mean");
  EXPECT_EQ(mean.size(), 10u);
  EXPECT_LE(mean.at("ptq integer(width=4,frac=half)"), 0.6) << "every weight is zero";
  EXPECT_GE(mean.at("ptq integer(width=4,frac=auto)"), mean.at("ptq none") - 0.1) << "four bits do not collapse";
  EXPECT_GE(mean.at("qat integer(width=4,frac=auto)"), mean.at("qat none") - 0.05);

  ASSERT_EQ(mpq(command("alone", curves + "--replicas 1")).code, 0);
  expect_same_sweep("sweep", "alone");
}

TEST_F(SweepTest, ACheckpointHoldsTheNumbersThatTheSweepFound) {
  base("base", 42);
  ASSERT_EQ(mpq(command("sweep", "--init {}/base --widths 5 --seeds 1 --format \"integer(width=%,frac=auto)\"")).code,
            0);
  ASSERT_EQ(train("one", std::string(qat) + "--init {}/base --format \"integer(width=5,frac=auto)\"").code, 0);
  const std::string checkpoint = file("one/mpq.json");
  EXPECT_EQ(checkpoint.find("auto"), std::string::npos);
  int found = 0;
  for (const auto& row : rows("sweep/formats.tsv")) {
    EXPECT_NE(checkpoint.find(row[2]), std::string::npos) << row[2];
    ++found;
  }
  EXPECT_EQ(found, 16) << "8 Linears, PTQ and QAT";
}

TEST_F(SweepTest, KilledItGoesOn) {
  base("base", 42);
  const std::string curves = "--init {}/base --widths 4,8 --seeds 2 --replicas 1 --epochs 2 ";
  ASSERT_EQ(mpq(command("whole", curves)).code, 0);
  for (const int signal : {SIGKILL, SIGINT}) {
    const std::string out = "killed" + std::to_string(signal);
    interrupt(start(command(out, curves)), signal, [&] { return finished(out) >= 7; });
    const Outcome again = mpq(command(out, curves));
    ASSERT_EQ(again.code, 0) << again.err;
    EXPECT_EQ(again.err.find(" 0 finished already"), std::string::npos) << again.err;
    expect_same_sweep("whole", out);
  }
}

TEST_F(SweepTest, EverySeedMayHaveItsOwnBase) {
  base("base-42", 42), base("base-43", 43);
  ASSERT_EQ(mpq(command("sweep", "--init {}/base-% --widths 8 --seeds 2 --mode ptq")).code, 0);
  std::map<std::string, std::string> controls;
  for (const auto& row : rows("sweep/points.tsv"))
    if (row[1] == "none") controls[row[3]] = row[6];
  ASSERT_EQ(controls.size(), 2u);
  for (const auto& [seed, accuracy] : controls) {
    const Outcome one =
        mpq("eval --json --checkpoint {}/base-" + seed + " --data synthetic --rows 400 --max-tokens 32");
    EXPECT_EQ(fmt::format("{:.5f}", one.result().at("accuracy").get<double>()), accuracy);
  }
  ASSERT_EQ(train("base-44", "--model 1,16,2,32").code, 0);
  const Outcome other = mpq(command("other", "--init {}/base-% --widths 8 --seeds 3 --mode ptq"));
  EXPECT_EQ(other.code, 2);
  EXPECT_NE(other.err.find("another shape"), std::string::npos) << other.err;
}

TEST_F(SweepTest, FamiliesWithoutAWidthArePoints) {
  base("base", 42);
  const Outcome sweep = mpq(command("sweep",
                                    "--init {}/base --mode ptq --family ternary,mxint --format "
                                    "\"log(width=%,bias=auto)\" --widths 4,32 --json"));
  ASSERT_EQ(sweep.code, 0) << sweep.err;
  EXPECT_EQ(sweep.result().at("points").size(), 4u) << "float, log of 4 bits (32 there are none), ternary, mxint";
}

TEST_F(SweepTest, OnePartAtATimeIsEvalWithThatLayersFormat) {
  ASSERT_EQ(train("base", "--model 2,32,2,64 --lr 2e-3 --epochs 3").code, 0);
  const std::string sweep = "--init {}/base --mode ptq --format \"integer(width=%,frac=1)\" --widths 2,3 ";
  const std::vector<std::string> parts{"encoder.layer.0.*", "encoder.layer.1.*", "pooler.dense", "classifier"};
  ASSERT_EQ(mpq(command("layers", sweep + "--each layer")).code, 0);
  const auto points = rows("layers/points.tsv");
  ASSERT_EQ(points.size(), 1 + 2 * parts.size());
  for (size_t i = 1; i < points.size(); ++i) {
    const std::string& part = points[i][2];
    EXPECT_EQ(part, parts[(i - 1) % parts.size()]);
    const Outcome one =
        mpq("eval --json --checkpoint {}/base --data synthetic --rows 400 --max-tokens 32 --layer-format '" + part +
            "=" + points[i][1] + "'");
    ASSERT_EQ(one.code, 0) << one.err;
    EXPECT_EQ(fmt::format("{:.5f}", one.result().at("accuracy").get<double>()), points[i][7]) << part;
  }
  EXPECT_NE(file("layers/accuracy_by_part.gp").find("'pooler.dense' 2"), std::string::npos);

  ASSERT_EQ(mpq(command("linears", sweep + "--each linear")).code, 0);
  ASSERT_EQ(mpq(command("alone", sweep + "--each linear --replicas 1")).code, 0);
  EXPECT_EQ(rows("linears/points.tsv").size(), 1 + 2 * 14u);
  for (const char* name : {"/points.tsv", "/table.tsv", "/formats.tsv", "/accuracy_by_part.tsv"})
    EXPECT_EQ(file(std::string("linears") + name), file(std::string("alone") + name)) << name;
  EXPECT_EQ(mpq(command("tables", sweep + "--each table")).code, 2);
}

TEST_F(SweepTest, ImpossibleSweepsAreRefused) {
  const auto refused = [&](const std::string& more, const std::string& said) {
    const Outcome outcome = mpq(command("sweep", more));
    EXPECT_EQ(outcome.code, 2) << more;
    EXPECT_NE(outcome.err.find(said), std::string::npos) << outcome.err;
  };
  refused("", "starts from a trained model");
  refused("--init {}/base --widths 4,x", "--widths");
  refused("--init {}/base --widths 4,4", "--widths");
  refused("--init {}/base --format \"integr(width=%)\"", "integr");
  refused("--init {}/base --format \"log(width=%)\" --widths 24,32", "width");
  refused("--init {}/base --format none", "asked for twice");
  refused("--init {}/base --epochs 0", "nothing is trained");
  refused("--init {}/base --family int", "int");
  refused("--init {}/absent", "absent");
}

TEST_F(SweepTest, QuantizeChoosesAScaleForEachTensor) {
  const std::vector<float> small{.01f, -.02f, .03f, .001f}, large{10, -20, 30, 1};
  const std::vector<SafeTensor> tensors{{"large", "F32", {4}, large.data()}, {"small", "F32", {4}, small.data()}};
  write_safetensors(path("in.safetensors"), tensors, {});
  const Outcome done = mpq(
      "quantize --format \"integer(width=8,frac=auto)\" --calibrate max --in {}/in.safetensors --out {}/q.safetensors");
  ASSERT_EQ(done.code, 0) << done.err;
  EXPECT_NE(done.out.find("integer(width=8,frac=2)"), std::string::npos) << "127 / 4 holds 30: " << done.out;
  EXPECT_NE(done.out.find("integer(width=8,frac=12)"), std::string::npos) << done.out;
  EXPECT_EQ(mpq("quantize --format \"mxint(width=auto)\" --in {}/in.safetensors --out {}/q.safetensors").code, 2);
}

TEST_F(SweepTest, QuantizedAfterAShareOfTheStepsATrainingGoesOnBitForBit) {
  const std::string run =
      "--model 1,16,2,32 --lr 1e-3 --epochs 12 --checkpoint-every 20 --format \"binary_residual(levels=2)\" ";
  const std::string later = run + "--quantize-after 0.4 ";
  ASSERT_EQ(train("whole", later).code, 0);
  ASSERT_EQ(train("never", run).code, 0);
  EXPECT_FALSE(file("whole/model.safetensors") == file("never/model.safetensors"));
  const auto begun = [this] { return fs::exists(path("killed") / "training_state.json"); };
  interrupt(start("train" + std::string(data) + later + " --out {}/killed"), SIGKILL, begun);
  ASSERT_EQ(train("killed", later + "--resume").code, 0);
  for (const char* name : {"/model.safetensors", "/mpq.safetensors", "/loss.tsv"})
    EXPECT_TRUE(file(std::string("whole") + name) == file(std::string("killed") + name)) << name;
  EXPECT_EQ(train("bad", run + "--quantize-after 1").code, 2);
  EXPECT_EQ(mpq("inspect --model tiny --format \"integer(width=8,frac=auto)\"").code, 2) << "no data to choose by";
}

}  // namespace
}  // namespace mpq
