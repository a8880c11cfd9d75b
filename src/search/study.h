// A define-by-run study in Optuna's sense: ask for trials, let each suggest its parameters, tell what came out.
//
//   while (true) {
//     std::vector<Trial> wave = study.ask(100);        // until the study has 100 trials
//     if (wave.empty()) break;
//     for (Trial& trial : wave) study.tell(trial, f(trial.suggest_categorical("x", {"a", "b"})));
//   }
#pragma once
#include <algorithm>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <set>

#include "search/sampler.h"
#include "search/storage.h"

namespace mpq {

struct StudyOptions {
  std::string name;
  Direction direction = Direction::maximize;
  SamplerOptions sampler;
  int parallel = 1;    // trials in a wave
  int64_t trials = 0;  // planned when the study is created: a space with fewer points is searched whole, by the grid
  SearchSpace space;   // suggested as a whole when a trial is asked for; empty: the caller suggests
  FurtherParameters further;            // suggested after it
  std::string metric;                   // name of the objective, for plots; may be empty
  std::function<void()> when_new = {};  // called if no such study exists, before another process can see it
};

// The best feasible COMPLETE trial by its first objective, the first of equals; nullptr if there is none.
const FrozenTrial* best_trial(const std::vector<FrozenTrial>& trials, Direction direction);

class Study;

// A trial in flight. Its parameters and attributes are kept here and stored by Study::save and Study::tell, each in one
// transaction. Suggest all parameters of a trial before those of the next: random streams go by whole trials.
class Trial {
 public:
  int64_t number() const { return number_; }
  const FrozenTrial& record() const;

  // A parameter that the trial has already is returned as it is. UserError if the study's other trials have a parameter
  // of that name with another distribution.
  Choice suggest(const std::string& name, const Distribution& distribution);
  std::string suggest_categorical(const std::string& name, const std::vector<std::string>& choices);
  int64_t suggest_int(const std::string& name, const IntDistribution& distribution);
  double suggest_float(const std::string& name, const FloatDistribution& distribution);

  void report(int64_t step, double value);
  void set_user_attr(const std::string& key, const nlohmann::json& value);
  void set_constraints(const std::vector<double>& constraints);  // <= 0 where kept

 private:
  friend class Study;
  Trial(Study& study, int64_t number) : study_(&study), number_(number) {}
  Study* study_;
  int64_t number_;
};

// Trials come in waves of `parallel`: number n belongs to wave n / parallel. A member knows the results of the earlier
// waves, and that the earlier members of its own wave run. So its parameters depend on the seed and the stored trials
// only: a killed study, opened again, makes the choices that it would have made. Trials that were in flight in a killed
// process are handed out again, under their numbers and with their stored parameters.
//
// Several processes may work on one study: no trial is lost, no number given twice; which process gets which number,
// and what is known at that moment, is then up to their timing. Within a process, open a study once.
class Study {
 public:
  // Opens the study of that name or creates it. UserError, saying what differs, if it exists with another direction,
  // sampler, seed, wave or space. `storage` outlives the study.
  Study(Storage& storage, StudyOptions options);
  Study(const Study&) = delete;
  Study& operator=(const Study&) = delete;

  // The next trials to run, at most one wave: first those whose process died, then new ones to the end of the wave,
  // until the study has `trials` trials. Empty: there is none left for this process. Finish these before asking again.
  // A grid ends with its last point.
  std::vector<Trial> ask(int64_t trials);

  // Stores what the trial has so far; it goes on RUNNING. ask does so for the parameters of a given space.
  void save(const Trial& trial);

  // COMPLETE with that value (+-inf is legal), or FAIL if it is NaN, as in Optuna.
  void tell(const Trial& trial, double value);
  // PRUNED (its value: the last one reported, if any) or FAIL.
  void tell(const Trial& trial, TrialState state);

  // Call it now and then during long trials: tells processes on other hosts that ours are alive. Cheap: it writes at
  // most every 15 seconds.
  void heartbeat();

  // A COMPLETE trial with the same parameters, the first one if there are several: its value can stand in.
  const FrozenTrial* find_same_params(const Trial& trial) const;

  // How many trials asking for `trials` gives in all: a grid has no more than its points.
  int64_t most_trials(int64_t trials) const { return std::min(trials, most_trials_); }
  // Whether, as last read, living processes of mpq have trials in flight that are not ours.
  bool others_run() const;

  const std::vector<FrozenTrial>& trials() const { return trials_; }  // by number, as last read
  const FrozenTrial* best_trial() const { return mpq::best_trial(trials_, options_.direction); }
  const StudyOptions& options() const { return options_; }

 private:
  friend class Trial;
  void open();
  void refresh();
  void claim_dead(std::vector<Trial>& wave);
  void create_rest_of_wave(std::vector<Trial>& wave, int64_t end);
  void suggest_space(std::vector<Trial>& wave);
  void finish(const Trial& trial, TrialState state, std::vector<double> values);
  const std::shared_ptr<const Distribution>& known_distribution(const std::string& name, const Distribution& asked);
  Choice suggest(int64_t number, const std::string& name, const Distribution& distribution);
  double draw(const std::string& name, const std::shared_ptr<const Distribution>& distribution);
  void replay_until(int64_t number);
  History history(int64_t number) const;
  FrozenTrial& at(int64_t number) { return trials_[static_cast<size_t>(number)]; }

  Storage& storage_;
  StudyOptions options_;
  int64_t id_ = 0;
  int64_t most_trials_;  // the points of a grid
  std::string owner_;
  std::unique_ptr<Sampler> sampler_;
  std::vector<FrozenTrial> trials_;
  std::set<int64_t> in_flight_;  // ours: newer here than in the storage
  std::map<std::string, std::shared_ptr<const Distribution>> distributions_;

  // Where the sampler's random streams are: in trial cursor_, after `replayed_` of its parameters.
  int64_t cursor_ = 0;
  size_t replayed_ = 0;
  bool begun_ = false;
  double last_heartbeat_s_ = 0;
};

}  // namespace mpq
