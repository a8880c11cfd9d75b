// Waves of trials: what shares a session, and that sharing one, diverging in one or being killed in one changes no bit
// of a trial's result.
#include "app/wave.h"

#include <fmt/format.h>

#include <atomic>
#include <map>
#include <thread>

#include "base/file.h"
#include "base/text.h"
#include "tensor/device_around.h"
#include "tests/devices.h"
#include "tests/temporary_folder.h"

namespace mpq {
namespace {

constexpr const char *plain = "integer(width=8,frac=4)", *other = "integer(width=6,frac=3)",
                     *fills_zero_tiles = "block_log(width=6,bias_width=8,block=1x16)",
                     *over_sequence = "x=block_fp(width=6,exponent=8,bias=127,block=*x16);w=none;b=none",
                     *exploding = "log(width=8,bias=-100)";  // its smallest value is 2^100

// What a job left behind.
struct Left {
  TrialResult result;
  int64_t step = 0;
  std::vector<std::vector<float>> weights;
  bool operator==(const Left& o) const {
    return result.value == o.result.value && result.diverged == o.result.diverged && step == o.step &&
           weights == o.weights;
  }
};

// A device that says how much memory is free.
class SmallDevice : public DeviceAround {
 public:
  SmallDevice(Device& device, size_t free) : DeviceAround(device), free_(free) {}
  std::string describe() const override { return "a small device"; }
  size_t free_bytes() const override { return free_; }
  int replicas_at_once() const override { return 3; }
  int rows_at_once() const override { return 16; }  // evaluation takes no more memory than training

 private:
  size_t free_;
};

// A GPU that is lost in its first session, once a trial has finished elsewhere.
class LostDevice final : public SmallDevice {
 public:
  LostDevice(Device& device, const std::atomic<bool>& lost) : SmallDevice(device, device.free_bytes()), lost_(lost) {}
  std::unique_ptr<Replay> replay() override {
    while (!lost_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    throw UserError("the GPU is lost");
  }

 private:
  const std::atomic<bool>& lost_;
};

class WaveTest : public DeviceTest {
 protected:
  static constexpr int kEvery = 4;  // steps from state to state

  WaveTest() {
    ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
    train_.model = "1,16,2,32", train_.lr = 1e-2, train_.epochs = 4;
    std::string text = "text\tlabel\n";
    for (int i = 0; i < 64; ++i)
      text += fmt::format("the plot number {} was {}\t{}\n", i, i % 3 ? "superb" : "dull", i % 3 ? "good" : "bad");
    write_file_atomic(folder_ / "data.tsv", text);
    setup_.emplace(DataOptions{.data = folder_ / "data.tsv", .max_tokens = 16, .valid = "0.25"}, train_);
    model_ = std::make_shared<const Bert>(setup_->config);
  }
  ~WaveTest() override { ::unsetenv("XDG_CACHE_HOME"); }

  WaveRunner runner(int replicas) { return WaveRunner({device_.get()}, *setup_, train_, replicas); }
  // Named by their format; the states of those with the same one would collide.
  std::vector<TrialJob> jobs(const std::vector<std::string>& formats) {
    std::vector<TrialJob> jobs;
    for (const std::string& format : formats)
      jobs.push_back({.name = format,
                      .model = model_,
                      .formats = std::vector<LinearSpec>(model_->linears().size(), parse_linear_spec(format)),
                      .seed = 42,
                      .running = folder_ / ("running-" + format),
                      .recipe = "test",
                      .finished = [this, format](Session& session, int r, const TrialResult& result) {
                        left_[format] = {result, session.step(), {}};
                        for (const Parameter& p : session.model().parameters().all())
                          left_[format].weights.push_back(session.get(r, p));
                      }});
    return jobs;
  }
  void run(
      const WaveRunner& runner, const std::vector<SessionJobs>& sessions, const std::function<void()>& alive = [] {}) {
    runner.run(sessions, setup_->data.valid, alive);
  }
  // Every format in a session of its own, from beginning to end.
  std::map<std::string, Left> alone(const std::vector<std::string>& formats) {
    const WaveRunner one = runner(1);
    for (TrialJob& job : jobs(formats)) {
      job.running.clear();
      run(one, {{{job}, 0}});
    }
    return std::exchange(left_, {});
  }
  static std::vector<size_t> sizes(const std::vector<SessionJobs>& sessions) {
    std::vector<size_t> sizes;
    for (const SessionJobs& s : sessions) sizes.push_back(s.jobs.size());
    return sizes;
  }

  TemporaryFolder folder_;
  TrainArgs train_;
  std::optional<mpq::Setup> setup_;
  std::shared_ptr<const Bert> model_;
  std::map<std::string, Left> left_;
};
MPQ_ON_EVERY_DEVICE(WaveTest);

TEST_P(WaveTest, ATrialHasTheResultItHasAlone) {
  const std::vector<std::string> formats = {"none", over_sequence, plain, fills_zero_tiles, "binary_residual(levels=2)",
                                            other};
  const auto expected = alone(formats);
  for (const auto& [format, left] : expected) EXPECT_EQ(left.result.replicas, 1);
  for (const int replicas : {2, 5}) {
    const WaveRunner together = runner(replicas);
    run(together, together.sessions(jobs(formats)));
    EXPECT_EQ(std::exchange(left_, {}), expected) << replicas << " at once";
  }
}

TEST_P(WaveTest, ResultsAreHandedOverBestFirst) {
  const std::vector<std::string> formats = {exploding, plain, "log(width=8,bias=-99)", other, "none"};
  std::vector<TrialJob> all = jobs(formats);
  const WaveRunner five = runner(5);
  ASSERT_EQ(five.sessions(all).size(), 1u);
  run(five, five.sessions(all));
  const auto value = [&](const TrialJob& job) { return left_.at(job.name).result.value; };
  std::stable_sort(all.begin(), all.end(), [&](const auto& a, const auto& b) { return value(a) < value(b); });
  ASSERT_LT(value(all.front()), value(all.back()));
  std::vector<std::string> handed, expected;
  for (TrialJob& job : all) {
    expected.push_back(job.name);
    job.finished = [&handed, name = job.name](Session&, int, const TrialResult&) { handed.push_back(name); };
  }
  const auto better = [&](const auto& a, const auto& b) { return left_.at(a).result.value > left_.at(b).result.value; };
  std::stable_sort(expected.begin(), expected.end(), better);
  run(five, five.sessions(all));
  EXPECT_EQ(handed, expected);
}

TEST_P(WaveTest, EveryArchitectureHasItsSessions) {
  BertConfig wider = setup_->config, shorter = setup_->config;
  wider.ffn = 64, shorter.identities = {"bert.encoder.layer.0.attention.self.key"};
  const std::vector<std::string> formats = {plain, "none", other, "binary()", "log(width=8,bias=7)"};
  const auto mixed = [&] {
    std::vector<TrialJob> all = jobs(formats);
    for (const auto& [job, config] : {std::pair{1, wider}, {4, wider}, {3, shorter}}) {
      all[job].model = std::make_shared<const Bert>(config);
      all[job].formats.resize(all[job].model->linears().size());
    }
    all[2].epochs = 2;
    return all;
  };
  for (TrialJob& job : mixed()) {
    job.running.clear();
    run(runner(1), {{{job}, 0}});
  }
  const auto expected = std::exchange(left_, {});
  EXPECT_LT(expected.at(other).step, expected.at(plain).step);
  const WaveRunner five = runner(5);
  const auto sessions = five.sessions(mixed());
  EXPECT_EQ(sizes(sessions), (std::vector<size_t>{1, 1, 2, 1})) << "the second trains for other epochs than the first";
  run(five, sessions);
  EXPECT_EQ(left_, expected);
}

TEST_P(WaveTest, EqualJobsAreTrainedOnce) {
  std::vector<TrialJob> all = jobs({plain, other, "none"});
  std::vector<double> seconds;
  for (const size_t twin : {0, 0, 2}) {
    all.push_back(all[twin]);
    all.back().finished = [&seconds](Session&, int, const TrialResult& result) { seconds.push_back(result.seconds); };
  }
  all.back().epochs = 1;  // the third one's is none
  for (size_t i = 0; i < 3; ++i) all[i].running.clear();
  const std::vector<TrialJob> once = once_each(all);
  ASSERT_EQ(once.size(), 4u);
  const WaveRunner one = runner(1);
  run(one, {{{once[0]}, 0}});
  ASSERT_EQ(seconds.size(), 2u);
  EXPECT_NEAR(seconds[0], seconds[1], 1e-9 + seconds[0] * 1e-9);
  EXPECT_NEAR(seconds[0], left_.at(plain).result.seconds, 1e-9 + seconds[0] * 1e-9);
}

TEST_P(WaveTest, ATrialMayStartFromACheckpointOfItsOwn) {
  train_.epochs = 2;
  const WaveRunner two = runner(2);
  std::vector<TrialJob> first = jobs({"none"});
  first[0].finished = [&](Session& session, int r, const TrialResult&) { two.write(folder_ / "half", session, r); };
  run(two, two.sessions(first));
  std::vector<TrialJob> both = jobs({plain, other});
  for (TrialJob& job : both) job.epochs = 0;
  both[0].start = folder_ / "half";
  run(two, two.sessions(both));
  const Checkpoint half = read_checkpoint(folder_ / "half");
  const auto query = [&](const std::string& job) {
    const auto& all = model_->parameters().all();
    const auto at =
        std::find_if(all.begin(), all.end(), [](const Parameter& p) { return p.name.ends_with("query.weight"); });
    return left_.at(job).weights[static_cast<size_t>(at - all.begin())];
  };
  EXPECT_EQ(query(plain), half.values.at("bert.encoder.layer.0.attention.self.query.weight"));
  EXPECT_NE(query(other), query(plain)) << "that one starts from random weights";
}

TEST_P(WaveTest, SessionsAreCutByNumberAndByMemory) {
  const std::vector<TrialJob> all = jobs({over_sequence, "none", plain, other, "binary()"});
  const auto three = runner(3).sessions(all);
  EXPECT_EQ(sizes(three), (std::vector<size_t>{3, 1, 1}));
  EXPECT_EQ(three[2].jobs[0].name, over_sequence) << "formats that look over a sequence come last";
  EXPECT_EQ(sizes(runner(3).sessions(jobs({fills_zero_tiles, "none"}))), (std::vector<size_t>{2}));
  SmallDevice roomy(*device_, SIZE_MAX);
  const size_t two_trials = WaveRunner({&roomy}, *setup_, train_, 0).memory(std::span(all).subspan(1, 2));
  const auto sessions_on = [&](size_t free, int replicas) {
    SmallDevice small(*device_, free);
    return sizes(WaveRunner({&small}, *setup_, train_, replicas).sessions(all));
  };
  EXPECT_EQ(sessions_on(100 * two_trials, 0), (std::vector<size_t>{3, 1, 1})) << "what the device suggests";
  EXPECT_EQ(sessions_on(two_trials * 5 / 4, 5), (std::vector<size_t>{2, 2, 1}));
  try {
    sessions_on(two_trials / 4, 5);
    FAIL() << "no trial fits";
  } catch (const UserError& error) {
    const std::string said = error.what();
    EXPECT_NE(said.find("a small device has " + human_bytes(two_trials / 4)), std::string::npos) << said;
  }
}

// Untrained, models that differ in formats only are one model up to there. What trains something has its own.
TEST_P(WaveTest, TrialsWithoutTrainingShareTheirBase) {
  train_.epochs = 0;
  const std::string residual = "binary_residual(levels=2)", only_classifier[] = {"binary()", other, over_sequence};
  std::vector<TrialJob> all = jobs({plain, residual, "binary()", "none", other, over_sequence});
  for (TrialJob& job : all)
    if (std::count(std::begin(only_classifier), std::end(only_classifier), job.name))
      std::fill(job.formats.begin(), job.formats.end() - 1, LinearSpec{});
  const WaveRunner one = runner(1);
  for (const TrialJob& job : all) run(one, {{{job}, 0}});
  const auto expected = std::exchange(left_, {});
  SmallDevice roomy(*device_, SIZE_MAX);  // three replicas suit it
  const WaveRunner shared({&roomy}, *setup_, train_, 0);
  const auto sessions = shared.sessions(all);
  EXPECT_EQ(sizes(sessions), (std::vector<size_t>{1, 1, 3, 1})) << "residual; plain; the head's; what sees all rows";
  run(shared, sessions);
  EXPECT_EQ(left_, expected);
  all = jobs(
      {"integer(width=8,frac=1)", "integer(width=8,frac=2)", "integer(width=8,frac=3)", "integer(width=8,frac=4)"});
  EXPECT_EQ(sizes(shared.sessions(all)), (std::vector<size_t>{3, 1}));
  for (TrialJob& job : all) std::fill(job.formats.begin(), job.formats.end() - 1, LinearSpec{});
  EXPECT_EQ(sizes(shared.sessions(all)), (std::vector<size_t>{4})) << "more suit it where they share a layer";
}

TEST_P(WaveTest, OneThatDivergesLeavesTheOthersAlone) {
  const auto expected = alone({plain, other});
  const WaveRunner three = runner(3);
  run(three, three.sessions(jobs({plain, exploding, other})));
  const Left exploded = left_.at(exploding);
  left_.erase(exploding);
  EXPECT_EQ(left_, expected);
  EXPECT_FALSE(expected.at(plain).result.diverged);
  EXPECT_TRUE(exploded.result.diverged);
  EXPECT_EQ(exploded.result.value, majority_share(setup_->data.valid));
  EXPECT_EQ(exploded.result.correct, std::lround(exploded.result.value * static_cast<double>(exploded.result.rows)));
}

TEST_P(WaveTest, WhenAllHaveDivergedItEnds) {
  const WaveRunner two = runner(2);
  run(two, two.sessions(jobs({exploding, "log(width=8,bias=-99)"})));
  ASSERT_EQ(left_.size(), 2u);
  for (const auto& [format, left] : left_) {
    EXPECT_TRUE(left.result.diverged) << format;
    EXPECT_LT(left.step, two.steps(jobs({exploding})[0])) << format;
  }
}

TEST_P(WaveTest, KilledInMidWaveItGoesOnWhereTheStatesStand) {
  const std::vector<std::string> formats = {plain, exploding, other, "binary_residual(levels=2)"};
  train_.checkpoint_every = kEvery;
  auto expected = alone(formats);
  expected.erase(exploding);  // its weights are NaN, and alone it stopped earlier
  struct Killed {};
  const auto kill_later = [this, calls = 0]() mutable {
    if (++calls > 1 && std::filesystem::exists(folder_ / (std::string("running-") + other))) throw Killed{};
  };
  const WaveRunner four = runner(4);
  EXPECT_THROW(run(four, four.sessions(jobs(formats)), kill_later), Killed);
  EXPECT_TRUE(left_.empty());
  std::filesystem::remove_all(folder_ / (std::string("running-") + other));
  const auto sessions = four.sessions(jobs(formats));
  EXPECT_EQ(sizes(sessions), (std::vector<size_t>{2, 2})) << "those that go on; the lost state, and the diverged trial";
  EXPECT_GE(sessions[0].step, kEvery);
  EXPECT_EQ(sessions[1].step, 0);
  run(four, sessions);
  EXPECT_TRUE(left_.at(exploding).result.diverged);
  left_.erase(exploding);
  EXPECT_EQ(left_, expected);
}

class WavePairTest : public WaveTest {
 protected:
  WavePairTest() { pair_ = true; }
  WaveRunner both(int replicas) { return WaveRunner({device_.get(), second_.get()}, *setup_, train_, replicas); }
  const std::vector<std::string> formats_ = {"none", over_sequence, plain, "binary_residual(levels=2)", other};
};
MPQ_ON_EVERY_PAIR(WavePairTest);

TEST_P(WavePairTest, TwoDevicesGiveTheResultsOfOne) {
  const auto expected = alone(formats_);
  for (const int replicas : {1, 2, 5}) {
    const WaveRunner runner = both(replicas);
    std::vector<TrialJob> all = jobs(formats_);
    const auto here = std::this_thread::get_id();
    for (TrialJob& job : all)
      job.finished = [here, finished = job.finished](Session& session, int r, const TrialResult& result) {
        EXPECT_EQ(std::this_thread::get_id(), here);
        finished(session, r, result);
      };
    int calls = 0;
    run(runner, runner.sessions(all), [&] {
      EXPECT_EQ(std::this_thread::get_id(), here);
      ++calls;
    });
    EXPECT_GE(calls, 2);
    EXPECT_EQ(std::exchange(left_, {}), expected) << replicas << " at once";
  }
}

TEST_P(WavePairTest, TheLargestSessionsBeginFirst) {
  const WaveRunner runner = both(64);
  EXPECT_EQ(sizes(runner.sessions(jobs(formats_))), (std::vector<size_t>{3, 1, 1})) << "a device's share is three";
  EXPECT_EQ(sizes(WaveRunner({device_.get(), second_.get()}, *setup_, train_, 64, 2).sessions(jobs(formats_))),
            (std::vector<size_t>{4, 1}))
      << "two lanes of one device do not cut a wave";
  std::vector<SessionJobs> sessions;
  for (const size_t size : {2, 5, 3, 1, 3}) sessions.push_back({std::vector(size, TrialJob{.model = model_}), 0});
  EXPECT_EQ(largest_first(sessions), (std::vector<size_t>{1, 2, 4, 0, 3}));
  BertConfig larger = model_->config();
  larger.layers *= 3;
  sessions[0].jobs[0].model = std::make_shared<const Bert>(larger);
  EXPECT_EQ(largest_first(sessions)[0], 0u) << "two trials of three times the layers";
  EXPECT_TRUE(largest_first({}).empty());
}

TEST_P(WavePairTest, WhereOneFailsFinishedTrialsStayAndTheOthersKeepTheirStates) {
  const std::vector<std::string> formats = {"none", plain, "binary_residual(levels=2)", other};
  const auto expected = alone(formats);
  std::atomic<bool> one_has_finished = false;
  LostDevice lost(*second_, one_has_finished);
  const WaveRunner failing({device_.get(), &lost}, *setup_, train_, 1);
  try {
    std::vector<TrialJob> all = jobs(formats);
    for (TrialJob& job : all)
      job.finished = [&, finished = job.finished](Session& session, int r, const TrialResult& result) {
        finished(session, r, result);
        one_has_finished = true;
      };
    run(failing, failing.sessions(all));
    FAIL() << "one device is lost";
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(), "the GPU is lost");
  }
  EXPECT_FALSE(left_.empty());
  EXPECT_LT(left_.size(), formats.size()) << "the trial of the device that is lost";
  const WaveRunner again = both(1);
  std::vector<TrialJob> rest;
  for (TrialJob& job : jobs(formats))
    if (!left_.contains(job.name)) rest.push_back(job);
  run(again, again.sessions(rest));
  EXPECT_EQ(left_, expected);
}

TEST_P(WaveTest, KeptModelsAreEvaluatedTogether) {
  const WaveRunner three = runner(3);
  std::vector<TrialJob> all = jobs({"none", plain, "binary_residual(levels=2)"});
  std::vector<std::filesystem::path> folders;
  std::vector<double> expected(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    folders.push_back(folder_ / fmt::format("model-{}", i));
    all[i].finished = [&, i](Session& session, int r, const TrialResult& result) {
      three.write(folders[i], session, r);
      expected[i] = result.value;
    };
  }
  run(three, three.sessions(all));
  for (const int replicas : {1, 2, 3}) {
    const auto evaluations = runner(replicas).evaluate_kept(folders, setup_->data.valid);
    ASSERT_EQ(evaluations.size(), folders.size());
    for (size_t i = 0; i < folders.size(); ++i) EXPECT_EQ(evaluations[i].accuracy(), expected[i]) << folders[i];
  }
}

}  // namespace
}  // namespace mpq
