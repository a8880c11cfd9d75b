// One trial of a search: base weights and a table of specs -> train -> evaluate.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "app/training.h"
#include "tensor/device.h"

namespace mpq {

struct TrialJob {
  std::string name;                 // for the progress line
  std::vector<LinearSpec> formats;  // one a Linear
  uint64_t seed;                    // initialisation, order of the rows, dropout
  std::filesystem::path running;    // where its state is kept while it runs; empty: nowhere
  std::string recipe;               // what else decides its result: only a state of the same recipe is continued
};

struct TrialResult {
  bool diverged = false;  // a loss, a norm or a logit was not finite: it counts as the majority class
  int64_t correct = 0;    // rows of the selection split
  double value = 0;       // correct / rows
  double seconds = 0;     // including those of an earlier process
};

// Runs trials, one session of one replica each. Trials of one seed share everything but their formats, so equal formats
// give equal bits.
class TrialRunner {
 public:
  TrialRunner(Device& device, const Setup& setup, const TrainArgs& train, const Split& selection);

  // Trains, evaluates and, unless it diverged, hands the trained model to `then`. `alive` is called every now and then.
  // The state of a long trial is written every five minutes (or --checkpoint-every steps), and when a stop is asked
  // for; the next run of the same job continues from there, bit for bit. Throws Stopped.
  using Then = std::function<void(Session&, const TrialResult&)>;
  TrialResult run(const TrialJob& job, const Then& then, const std::function<void()>& alive);

  void write(const std::filesystem::path& folder, Session& session) const;
  // Evaluates a model that `write` wrote.
  Evaluation evaluate_kept(const std::filesystem::path& folder, const Split& split, const std::string& what);

  const Bert& model() const { return model_; }
  int64_t steps() const { return plan_.steps(setup_.data.train.row_count()); }
  int64_t selection_rows() const { return selection_.row_count(); }
  // Bytes that a trial with these formats takes.
  size_t memory(const std::vector<LinearSpec>& formats) const;

 private:
  class Running;
  Replica replica(const TrialJob& job) const { return {job.seed, schedule_of(train_, steps()), job.formats}; }

  Device& device_;
  const Setup& setup_;
  const TrainArgs& train_;
  const Split& selection_;
  Bert model_;
  TrainPlan plan_;
};

}  // namespace mpq
