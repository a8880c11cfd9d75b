// What mpq pretrain can be told.
#pragma once
#include <string>

#include "app/command_line.h"
#include "app/options.h"
#include "data/corpus.h"
#include "train/pretraining.h"

namespace mpq {

struct PretrainOptions {
  CorpusOptions corpus;
  PretrainPlan plan;
  std::string model = "tiny", init, decay = "linear", out, figure;
  double lr = 2e-3, warmup = 0.06, weight_decay = 0.01, dropout = 0.1, clip = 1.0;
  int checkpoint_every = 0;
  uint64_t seed = 42;
  bool resume = false;
  MachineArgs machine;

  void add_to(CommandLine& line);
  // Seeds and what else follows from the options. UserError for those that exclude each other.
  void settle();
  Schedule schedule(int64_t steps) const;
  // Everything but data and model that decides the bits of a run.
  std::string recipe() const;
};

}  // namespace mpq
