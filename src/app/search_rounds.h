// The rounds of a search: every study asks for its wave, all their trials are trained together, every study is told.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "app/search_study.h"

namespace mpq {

class Search {
 public:
  Search(const SearchOptions& options, const Setup& setup, const Devices& devices, Storage& storage);

  void print_plan(const Devices& devices) const;
  // Until every study has its trials. Throws Stopped.
  void run();
  // The winners, met with the test split and trained again with other seeds, as the options want it. Throws Stopped.
  std::vector<StudyResult> results();
  SearchStyle style() const;

 private:
  bool run_round();
  void train(const std::vector<TrialJob>& jobs, const TrialSplits& splits);
  void print_trial(const SearchStudy& study, const FrozenTrial& trial);
  void estimate();
  bool others_run() const;
  void test_winners(std::vector<StudyResult>& results);
  void restore_lost_models(const std::vector<StudyResult>& results);
  void confirm_winners(std::vector<StudyResult>& results);
  void confirm_with(uint64_t seed, std::vector<StudyResult>& results);
  TrialSplits selection_and_watched() const { return {selection(), options_.watch_test ? &setup_.data.test : nullptr}; }
  const Split& selection() const { return test_selects_ ? setup_.data.test : setup_.data.valid; }

  const SearchOptions& options_;
  const Setup& setup_;
  bool test_selects_;
  SearchPlan plan_;
  WaveRunner runner_;
  std::vector<std::unique_ptr<SearchStudy>> studies_;
  std::vector<TrialJob> first_round_;  // what one looks like: for the plan
  int64_t planned_ = 0, finished_ = 0;
  std::vector<double> seconds_;  // of the trials that were trained here, the control's left out
  bool estimated_ = false;
};

}  // namespace mpq
