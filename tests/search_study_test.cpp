// A study of a search: which trial wins and which models are written, in whatever order results come, and wherever the
// process is killed between them.
#include "app/search_study.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "search/memory_storage.h"
#include "tests/temporary_folder.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

class SearchStudyTest : public testing::Test {
 protected:
  static constexpr int64_t kCorrect[] = {8, 12, 12, 4, 10, 3};  // of 16 rows; the first of the best wins
  static constexpr int kTrials = std::size(kCorrect), kWinner = 1;
  static inline const std::vector<int> best_first = {1, 2, 4, 0, 3, 5}, in_order = {0, 1, 2, 3, 4, 5},
                                       worst_first = {5, 3, 0, 4, 2, 1}, second_first = {2, 1, 0, 5, 4, 3};

  SearchStudyTest() {
    ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
    options_.train.model = "1,16,2,32", options_.mode = "per-layer", options_.sampler = "random";
    options_.out = folder_ / "out", options_.trials = options_.parallel = kTrials;
    std::string text = "text\tlabel\n";
    for (int i = 0; i < 64; ++i) text += fmt::format("the plot {} was {}\t{}\n", i, i % 3 ? "superb" : "dull", i % 2);
    write_file_atomic(folder_ / "data.tsv", text);
    setup_.emplace(DataOptions{.data = folder_ / "data.tsv", .max_tokens = 16, .valid = "0.25"}, options_.train);
    options_.family = "integer";
    plan_ = plan_search(options_, std::make_shared<const Bert>(setup_->config));
    runner_.emplace(std::vector<Device*>{device_.get()}, *setup_, options_.train, kTrials);
  }
  ~SearchStudyTest() override { ::unsetenv("XDG_CACHE_HOME"); }

  SearchStudy open() { return {plan_.studies.at(1), options_, *runner_, storage_, "recipe"}; }
  void begin_anew() {
    storage_ = MemoryStorage();
    written_.clear();
  }
  // Hands the study's wave its results in this order, but no more than so many. A process would end there.
  void hand_over(SearchStudy& study, const std::vector<int>& order, size_t most = kTrials) {
    ASSERT_TRUE(study.ask());
    std::vector<TrialJob> jobs = study.jobs([&](const FrozenTrial& trial) {
      if (fs::exists(model(trial.number))) written_.push_back(static_cast<int>(trial.number));
    });
    const auto named = [&](int trial) { return fmt::format("integer trial {}", trial); };
    Session session(*device_, *jobs.at(0).model, setup().replicas(jobs), setup().session_options(jobs[0]));
    session.initialise();
    for (const int trial : order)
      for (size_t r = 0; r < jobs.size() && most > 0; ++r)
        if (jobs[r].name == named(trial)) {
          jobs[r].finished(
              session, static_cast<int>(r),
              {.correct = kCorrect[trial], .rows = 16, .value = static_cast<double>(kCorrect[trial]) / 16});
          --most;
        }
  }
  void expect_the_winner(SearchStudy& study) {
    EXPECT_EQ(study.result().finished, kTrials);
    EXPECT_EQ(study.result().winner, kWinner);
    EXPECT_EQ(study.winner_model(), model(kWinner));
    EXPECT_FALSE(study.lost_model()) << "it would be trained again";
    for (const auto& entry : fs::directory_iterator(model(kWinner).parent_path()))
      EXPECT_EQ(entry.path(), model(kWinner));
  }
  fs::path model(int64_t trial) const {
    return fs::path(options_.out) / "models/search-integer" / fmt::format("trial-{}", trial);
  }
  TrialSetting setup() const { return {*setup_, options_.train}; }

  TemporaryFolder folder_;
  std::unique_ptr<Device> device_ = open_device("cpu");
  SearchOptions options_;
  std::optional<mpq::Setup> setup_;
  SearchPlan plan_;
  std::optional<WaveRunner> runner_;
  MemoryStorage storage_;
  std::vector<int> written_;  // the trials whose model was there when they were told
};

TEST_F(SearchStudyTest, TheWinnerIsTheSameInAnyOrder) {
  for (const auto& order : {best_first, in_order, worst_first, second_first}) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(order, " ")));
    begin_anew();
    SearchStudy study = open();
    hand_over(study, order);
    expect_the_winner(study);
  }
}

TEST_F(SearchStudyTest, BestFirstOneModelIsWritten) {
  SearchStudy study = open();
  hand_over(study, best_first);
  EXPECT_EQ(written_, std::vector{kWinner});
  begin_anew();
  SearchStudy other = open();
  hand_over(other, in_order);
  EXPECT_EQ(written_, (std::vector{0, 1}));
}

TEST_F(SearchStudyTest, KilledBetweenResultsItLosesNoModel) {
  for (const auto& order : {best_first, in_order, worst_first})
    for (size_t told = 0; told < kTrials; ++told) {
      SCOPED_TRACE(fmt::format("{} of {}", told, fmt::join(order, " ")));
      begin_anew();
      {
        SearchStudy killed = open();
        hand_over(killed, order, told);
        if (told > 0) {
          EXPECT_FALSE(killed.lost_model());
        }
      }
      make_folders(model(order[told]));  // a model may be written and its trial not yet told
      write_file_atomic(model(order[told]) / "model.safetensors", "of a killed process");
      SearchStudy again = open();
      hand_over(again, best_first);
      expect_the_winner(again);
      EXPECT_GT(fs::file_size(model(kWinner) / "model.safetensors"), 1000u);
    }
}

}  // namespace
}  // namespace mpq
