// Named points, each evaluated or trained from a base model, as a grid study of one parameter: a killed one goes on,
// Optuna's tools read it, and several processes can share it.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "app/wave.h"
#include "search/study.h"

namespace mpq {

// What `seeds` seeds start from, all bases named.
std::string start_recipe(Setup& setup, const TrainArgs& train, int seeds);

std::vector<Device*> pointers(const Devices& devices);

struct StudyPoint {
  std::string name;  // unique in the study
  uint64_t seed;
  bool trained;  // for --epochs; else it is evaluated as it starts
};

struct PointPlan {
  std::string study, metric, recipe;
  std::vector<StudyPoint> points;
  std::string running;  // folder of the trial's state: this and its number
  int replicas = 0;
};

class PointStudy {
 public:
  // `setup` starts from a base of the first seed.
  PointStudy(PointPlan plan, const TrainArgs& train, Setup& setup, const Devices& devices, Storage& storage);
  virtual ~PointStudy() = default;
  void run();  // until every point is finished; throws Stopped

 protected:
  using Trials = std::vector<std::pair<Trial, size_t>>;  // of one seed, with their points' numbers

  virtual std::vector<TrialJob> jobs(const Trials& trials) = 0;  // one a trial, by new_job
  virtual TrialSplits splits() const = 0;

  TrialJob new_job(const Trial& trial, size_t point) const;
  // `shown` is what the line says behind the point's name.
  void finish(Trial& trial, size_t point, const TrialResult& result, const std::string& shown);
  void print_devices(const Devices& devices) const;
  // The finished trial of each point; nullptr: it has none yet.
  std::vector<const FrozenTrial*> finished_trials() const;

  Setup& setup() const { return setup_; }
  const std::shared_ptr<const Bert>& model() const { return model_; }
  const WaveRunner& runner() const { return train_; }
  Device& first_device() const { return *devices_[0]; }
  size_t finished() const { return finished_; }
  size_t size() const { return plan_.points.size(); }
  int64_t steps() const { return plan_of(trained_).steps(setup_.data.train.row_count()); }

 private:
  size_t point_of(const FrozenTrial& trial) const;
  void run_seed(uint64_t seed, const Trials& trials);
  std::filesystem::path running_folder(int64_t number) const { return plan_.running + std::to_string(number); }

  PointPlan plan_;
  TrainArgs trained_, untrained_;
  Setup& setup_;
  std::vector<Device*> devices_;
  std::shared_ptr<const Bert> model_;
  WaveRunner evaluate_, train_;  // of the two kinds of points
  Study study_;
  size_t finished_ = 0;
};

}  // namespace mpq
