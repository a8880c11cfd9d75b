// Loops over a data set: training for a number of steps, and evaluation; for all replicas of a session at once.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "train/session.h"

namespace mpq {

struct TrainPlan {
  double epochs = 1;
  int batch = 8;
  uint64_t data_seed = 42;  // the order of the rows, shared by all replicas
  int64_t stop_every = 0;   // the caller wants to be called after every so many steps, at least; 0: no wish
  int64_t pause = 0;        // train() ends after this step; 0: at the end of the plan

  int64_t steps(int64_t rows) const;
  StepOrder order(int64_t rows) const;
};

// Steps first ... first + results.size() - 1 are done; the session stands after the last of them.
struct Progressed {
  int64_t first;
  std::span<const Session::StepResult> results;
};
using AfterSteps = std::function<void(const Progressed&)>;

// Steps on the attached data from session.step() to `end`, some at a time: about a tenth of a second of them, and no
// further than the next multiple of `stop_every`. What `after` throws (Stopped) ends the loop with the session whole.
void take_steps(Session& session, int64_t end, int64_t stop_every, const AfterSteps& after);

// Trains from session.step() to the end of the plan or its pause, by take_steps.
void train(Session& session, const Split& split, const TrainPlan& plan, const AfterSteps& after);

// What a replica says of a split.
struct Evaluation {
  std::vector<int32_t> predicted, labels;
  double loss = 0;     // mean cross-entropy
  bool finite = true;  // every logit
  int64_t correct() const;
  double accuracy() const;
};
// One a replica. `progress(rows done)` may throw Stopped.
std::vector<Evaluation> evaluate(Session& session, const Split& split,
                                 const std::function<void(int64_t)>& progress = {});

// Share of the most frequent label: what a model that learnt nothing reaches.
double majority_share(const Split& split);

// Rows of the confusion matrix are labels, columns predictions; macro F1 is the mean over classes of 2 p r / (p + r).
std::vector<std::vector<int64_t>> confusion(const Evaluation& e, int classes);
double macro_f1(const std::vector<std::vector<int64_t>>& confusion);

}  // namespace mpq
