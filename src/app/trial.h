// A trial of a search as a job: weights to start from and a table of formats -> train -> evaluate; and what comes out.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/known_baseline.h"
#include "app/training.h"

namespace mpq {

struct TrialResult {
  bool diverged = false;          // a loss, a norm or a logit was not finite: it counts as the majority class
  int64_t correct = 0, rows = 0;  // of the split
  double value = 0;               // correct / rows
  Hits also;                      // of the other split, where there is one
  double seconds = 0;             // its share of its sessions' time, including those of an earlier process
  int replicas = 1;               // of the session that finished it
};

// What trained trials are evaluated on.
struct TrialSplits {
  const Split& split;
  const Split* also;  // null: nothing else
  TrialSplits(const Split& split, const Split* also = nullptr) : split(split), also(also) {}
};

// Jobs of one seed and one architecture may share a session: equal formats then give equal bits.
struct TrialJob {
  std::string name;  // for the progress line
  std::shared_ptr<const Bert> model;
  std::vector<LinearSpec> formats;  // nn/model_formats.h
  Pruning pruning = {};             // masks of weights are drawn from the weights it starts from; none: as --init does
  uint64_t seed;                    // initialisation, order of the rows, dropout
  std::filesystem::path running;    // where its state is kept while it runs; empty: nowhere
  std::string recipe;               // what else decides its result: only a state of the same recipe is continued
  // Takes the result, while the session still holds the trained model.
  std::function<void(Session& session, int replica, const TrialResult& result)> finished;
  std::optional<double> epochs = {};  // where it is not --epochs
  std::filesystem::path start = {};   // the checkpoint it starts from, where it is not --init
};

// Of jobs that train the same (studies that propose alike) one, which hands its result to all of them.
std::vector<TrialJob> once_each(const std::vector<TrialJob>& jobs);

// What all trials of a search share.
struct TrialSetting {
  const Setup& setup;
  const TrainArgs& train;

  TrainArgs train_of(const TrialJob& job) const {
    TrainArgs own = train;
    own.epochs = job.epochs.value_or(train.epochs);
    return own;
  }
  int64_t steps(const TrialJob& job) const { return plan_of(train_of(job)).steps(setup.data.train.row_count()); }
  std::vector<Replica> replicas(std::span<const TrialJob> jobs) const {
    std::vector<Replica> all;
    for (const TrialJob& job : jobs)
      all.push_back({job.seed, schedule_of(train, steps(job)), job.formats, pruning_of(job)});
    return all;
  }
  // Those before the formats; a job that starts from a checkpoint of its own has had its float part.
  int64_t float_steps(const TrialJob& job) const { return job.start.empty() ? mpq::float_steps(train, steps(job)) : 0; }
  Pruning pruning_of(const TrialJob& job) const {
    return job.pruning || !setup.init ? job.pruning : setup.init->pruning;
  }
  // Untrained, it is a base model in other formats, and shares the base with others.
  bool evaluates_base(const TrialJob& job) const;
  SessionOptions session_options(const TrialJob& job) const {
    SessionOptions options = mpq::session_options(train_of(job), setup.data_options);
    options.one_model = evaluates_base(job);
    return options;
  }
};

}  // namespace mpq
