// What mpq train and mpq search share: from options to a model, a plan and a session's replicas.
#pragma once
#include <optional>
#include <string>

#include "app/options.h"
#include "data/dataset.h"
#include "train/adapter_folder.h"
#include "train/trainer.h"

namespace mpq {

// The data and the model that options ask for. With --init the checkpoint's tokenizer is used unless another is named.
struct Setup {
  Dataset data;
  DataOptions data_options;
  std::optional<Checkpoint> init;
  std::optional<AdapterFolder> adapter;  // on top of it
  BertConfig config;

  Setup(DataOptions data_options, const TrainArgs& train, const std::string& adapter_folder = {});
  // Another checkpoint to start from, of the same shape. UserError.
  void start_from(const std::string& folder);
  CheckpointInfo checkpoint_info() const { return {data.label_names, data_options.max_tokens, data_options.truncate}; }
};

TrainPlan plan_of(const TrainArgs& train);
Schedule schedule_of(const TrainArgs& train, int64_t steps);
// Of these steps, how many come before the formats.
int64_t float_steps(const TrainArgs& train, int64_t steps);
SessionOptions session_options(const TrainArgs& train, const DataOptions& data);

// Of every replica: random weights by its seed, or the checkpoint's; pruned, by the checkpoint's masks or its own
// first; and the adapter's.
void start_weights(Session& session, const Setup& setup);
// The same of one replica, from that checkpoint.
void start_weights(Session& session, int replica, const Checkpoint& checkpoint);

// "tiny: 2 layers, hidden 128, ... 4,386,178 parameters", for the lines before long work.
std::string describe(const BertConfig& config, Head head = Head::classifier);

// Trains with a progress bar and, after the first steps, an estimate; `after` sees all of them. Throws Stopped
// between steps once a stop is asked for (after `after` has seen what is done).
void train_with_progress(Session& session, const Split& split, const TrainPlan& plan, const std::string& what,
                         const AfterSteps& after);
std::vector<Evaluation> evaluate_with_progress(Session& session, const Split& split, const std::string& what);

}  // namespace mpq
