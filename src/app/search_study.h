// One study of a search: its trials, and the model of the best of them.
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

class SearchStudy {
 public:
  // Opens or creates the study. `recipe` is what decides a trial's result beside its parameters; UserError if the study
  // was made with another one.
  SearchStudy(const PlannedStudy& plan, const SearchOptions& options, WaveRunner& runner, Storage& storage,
              const std::string& recipe);

  const std::string& name() const { return plan_.name; }
  bool is_control() const { return plan_.is_control; }
  const Study& study() const { return study_; }
  int64_t planned_trials() const { return study_.most_trials(options_.trials); }
  // A job like its trials', of the candidate that takes the most memory.
  TrialJob largest() const;

  // Asks for the next wave; false if there is none. Its trials are all finished before asking again.
  bool ask();
  // What of the wave is to be trained now, calling `done` after each trial. What needs no training is finished here:
  // over budget, or known already. A trial whose twin stands earlier in the wave waits for the twin's result; one that
  // is compressed within the trial comes back for its second part. Empty: the wave is finished.
  using Done = std::function<void(const FrozenTrial&)>;
  std::vector<TrialJob> jobs(const Done& done);
  void heartbeat() { study_.heartbeat(); }

  // Where the winner's model is kept; and what is next to train it again (the same bits) if it was lost.
  std::filesystem::path winner_model() const;
  std::optional<TrialJob> lost_model() const;
  // A finished trial trained with another seed, on the test split: what is next, until the result is in confirmed().
  std::optional<TrialJob> confirmation(int64_t number, uint64_t seed);
  std::optional<double> confirmed(int64_t number, uint64_t seed) const;
  StudyResult result() const;

 private:
  bool finished_without_training(Trial& trial);
  bool keeps_budget(Trial& trial);
  void repeat(Trial& trial, const FrozenTrial& same);
  bool has_open_twin(const Trial& trial) const;
  TrialJob training(const Trial& trial, const Done& done);
  void finish(Trial& trial, Session& session, int replica, const TrialResult& result);
  bool would_win(const Trial& trial, double value) const;
  void drop_beaten_models() const;
  // The next job of a trial: its float model, if it needs one and that is not there; or the one that ends with
  // `finished`.
  using Finished = std::function<void(Session&, int, const TrialResult&)>;
  TrialJob job(const FrozenTrial& trial, uint64_t seed, const Finished& finished) const;
  std::filesystem::path running_folder(int64_t number, uint64_t seed) const;
  void drop_running(int64_t number, uint64_t seed) const;
  std::filesystem::path model_folder(int64_t number) const;
  const FrozenTrial* best_on_test() const;  // nullptr: it was not watched

  const PlannedStudy& plan_;
  const SearchOptions& options_;
  WaveRunner& runner_;
  Storage& storage_;
  std::string recipe_;
  Study study_;
  std::vector<Trial> open_;  // of the wave: not finished yet
  std::filesystem::path models_;
};

}  // namespace mpq
