// One study of a search: a family's trials, and the model of the best of them.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "app/search_options.h"
#include "app/search_report.h"
#include "app/search_space.h"
#include "app/wave.h"
#include "search/study.h"

namespace mpq {

class FamilySearch {
 public:
  // Opens or creates the study. `recipe` is what decides a trial's result beside its formats; UserError if the study
  // was made with another one.
  FamilySearch(const FamilySpace& space, const SearchOptions& options, WaveRunner& runner, Storage& storage,
               const std::string& recipe);

  const std::string& family() const { return family_; }
  const Study& study() const { return study_; }
  int64_t planned_trials() const { return study_.most_trials(options_.trials); }

  // Asks for the next wave; false if there is none. Its trials are all finished before asking again.
  bool ask();
  // What of the wave is to be trained now, calling `done` after each trial. What needs no training is finished here:
  // over budget, or known already. A trial whose twin stands earlier in the wave waits for the twin's result.
  using Done = std::function<void(const FrozenTrial&)>;
  std::vector<TrialJob> jobs(const Done& done);
  void heartbeat() { study_.heartbeat(); }

  // Where the winner's model is kept; and what trains it again (the same bits) if it was lost.
  std::filesystem::path winner_model() const;
  std::optional<TrialJob> lost_model() const;
  FamilyResult result() const;

 private:
  bool finished_without_training(Trial& trial);
  void repeat(Trial& trial, const FrozenTrial& same);
  bool has_open_twin(const Trial& trial) const;
  TrialJob training(const Trial& trial, const Done& done);
  void finish(Trial& trial, Session& session, int replica, const TrialResult& result);
  bool would_win(const Trial& trial, double value) const;
  void drop_beaten_models() const;
  TrialJob job(const FrozenTrial& trial) const;
  std::filesystem::path running_folder(int64_t number) const;
  std::filesystem::path model_folder(int64_t number) const;

  std::string family_;
  const SearchOptions& options_;
  WaveRunner& runner_;
  std::string recipe_;
  Study study_;
  std::vector<Trial> open_;  // of the wave: not finished yet
  std::filesystem::path models_;
};

}  // namespace mpq
