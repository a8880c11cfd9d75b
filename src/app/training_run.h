// A training run of one model, or of several side by side: the replicas of one session, which share the order of the
// rows and differ in seeds, bases, adapters. Each has the bits that it has alone.
#pragma once
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "app/calibration_options.h"
#include "app/format_options.h"
#include "app/lora_options.h"
#include "app/training.h"
#include "train/phased_session.h"

namespace mpq {

// What decides a run's bits beside its data; `train.seed` orders the rows. A % in train.init stands for a model's seed.
struct RunRecipe {
  TrainArgs train;
  FormatArgs formats;
  CalibrationArgs calibration = {};
  std::vector<std::string> freeze = {};  // patterns
  std::string precision = {};            // MachineArgs::precision_in_recipe
  std::string adapter = {};              // the folder that Setup::adapter was read from
  int shards = 1;
  bool merge = false;  // adapters are folded into their base when they are written
};

// One of its models.
struct RunModel {
  uint64_t seed;       // initialisation and dropout
  Lora lora = {};      // where there are adapters
  std::string folder;  // where it goes; empty: nowhere
};

struct RunResult {
  std::optional<double> valid, test;  // accuracies
  std::optional<double> loss;         // of the last step
  int64_t trained_parameters = 0;
};
struct RunSpeed {
  double train_rows_per_s = 0, eval_rows_per_s = 0, seconds = 0;  // of all models together
};

// UserError for a folder that a checkpoint must not replace.
void check_targets(const std::vector<RunModel>& models);

class TrainingRun {
 public:
  // `setup` starts from the base of the first model. Two devices take a half of every batch each, of one model.
  TrainingRun(RunRecipe recipe, Setup& setup, const Adaptation& adaptation, std::vector<RunModel> models,
              const Devices& devices);

  void start();
  void resume();  // what its folders hold unfinished; UserError if that is not one step of this run
  // Writes the folders: at the end, when stopped, and every --checkpoint-every steps. Throws Stopped; UserError if a
  // model diverges.
  void train();
  std::vector<RunResult> evaluate();  // a model each, on the test and validation splits
  const RunSpeed& speed() const { return speed_; }

  int64_t steps() const { return steps_; }
  const Bert& model() const { return model_; }
  const std::vector<Replica>& replicas() const { return replicas_; }
  size_t memory() const;  // bytes that it takes on each device

 private:
  std::vector<std::string> freeze();
  std::vector<Replica> replicas();
  Replica replica(const RunModel& model);
  ClosedFormats formats(uint64_t seed);
  void take_base(uint64_t seed);  // into setup_
  SessionOptions session_options() const;
  std::unique_ptr<Session> open_session(const std::vector<Replica>& replicas) const;
  TrainingState read_state(size_t r);
  void see(const Progressed& done);
  void write(bool unfinished);
  void write_model(const AtomicFolder& folder, size_t r, const TrainingState* state);
  void write_merged(const AtomicFolder& folder, size_t r, const CheckpointInfo& info);
  void write_curve(const AtomicFolder& folder, size_t r) const;
  std::string fingerprint(size_t r) const;
  std::string name(size_t r) const;  // "", or " of the seed 43", where there are several

  RunRecipe recipe_;
  Setup& setup_;
  const Devices& devices_;
  Adaptation adaptation_;
  std::vector<RunModel> models_;
  Bert model_;
  std::vector<std::string> frozen_;  // before the session, which is opened on the model with them
  TrainPlan plan_;
  int64_t steps_;
  std::vector<Replica> replicas_;
  PhasedSession session_;
  std::vector<TrainingState> states_;
  RunSpeed speed_;
};

}  // namespace mpq
