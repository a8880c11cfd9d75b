// One study of a search: a family's trials, and the model of the best of them.
#pragma once
#include <filesystem>
#include <string>

#include "app/search_options.h"
#include "app/search_report.h"
#include "app/search_space.h"
#include "app/search_trial.h"
#include "search/study.h"

namespace mpq {

class FamilySearch {
 public:
  // Opens or creates the study. `recipe` is what decides a trial's result beside its formats; UserError if the study
  // was made with another one.
  FamilySearch(const FamilySpace& space, const SearchOptions& options, TrialRunner& runner, Storage& storage,
               const std::string& recipe);

  const std::string& family() const { return family_; }
  const Study& study() const { return study_; }
  int64_t planned_trials() const { return study_.most_trials(options_.trials); }

  // Runs the next wave, calling `done` after each trial; false if there was none to run. Throws Stopped.
  using Done = std::function<void(const FrozenTrial&)>;
  bool run_wave(const Done& done);

  // The model of the winner: as it was kept, or trained again (the same bits) where that was lost.
  std::filesystem::path winner_model();
  FamilyResult result() const;

 private:
  void run(Trial& trial);
  void train(Trial& trial, const std::vector<LinearSpec>& specs);
  void repeat(Trial& trial, const FrozenTrial& same);
  void drop_beaten_models() const;
  TrialJob job(int64_t number, const std::vector<LinearSpec>& specs) const;
  std::filesystem::path model_folder(int64_t number) const;

  std::string family_;
  const SearchOptions& options_;
  TrialRunner& runner_;
  std::string recipe_;
  Study study_;
  std::filesystem::path models_;
};

}  // namespace mpq
