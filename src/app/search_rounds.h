// The rounds of a search: every study asks for its wave, all their trials are trained together, every study is told.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "app/search_family.h"

namespace mpq {

class Search {
 public:
  Search(const SearchOptions& options, const Setup& setup, const Devices& devices, Storage& storage);

  void print_plan(const Devices& devices) const;
  // Until every study has its trials. Throws Stopped.
  void run();
  // The winners, met with the test split and trained again with other seeds, as the options want it. Throws Stopped.
  std::vector<FamilyResult> results();

  const Bert& model() const { return runner_.model(); }

 private:
  bool run_round();
  void train(std::vector<TrialJob> jobs, const Split& split);
  void print_trial(const std::string& family, const FrozenTrial& trial);
  void estimate();
  bool others_run() const;
  void test_winners(std::vector<FamilyResult>& results);
  void confirm_winners(std::vector<FamilyResult>& results);
  const Split& selection() const { return test_selects_ ? setup_.data.test : setup_.data.valid; }

  const SearchOptions& options_;
  const Setup& setup_;
  bool test_selects_;
  WaveRunner runner_;
  std::vector<std::unique_ptr<FamilySearch>> families_;
  std::vector<TrialJob> first_round_;  // what one looks like: for the plan
  int64_t planned_ = 0, finished_ = 0;
  double quantized_seconds_ = 0;  // of the last quantized trial
  bool estimated_ = false;
};

}  // namespace mpq
