// Masked language modelling of a corpus in two phases: short sequences first, long ones for the last share of the
// epochs (Devlin et al. 2018, appendix A.2). Every phase is a session of its own, which takes over what the one before
// has learnt.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "data/masking.h"
#include "train/trainer.h"

namespace mpq {

struct PretrainPlan {
  MaskOptions masks;
  int sequence = 128, long_sequence = 512;  // tokens, [CLS] and [SEP] included
  double epochs = 20, long_share = 0.1;
  int batch = 512;          // short sequences a step; of long ones as many fewer as they are longer
  uint64_t data_seed = 42;  // order of the sequences, shared by all replicas
  int64_t stop_every = 0;   // as in TrainPlan
};

// Steps first_step ... end - 1 of the run, on sequences of one length. Its epochs draw masks from first_draw on.
struct PretrainPhase {
  int sequence, batch;
  int64_t first_step, end, rows;  // rows: sequences of an epoch
  uint32_t first_draw;

  int64_t steps_per_epoch() const { return (rows + batch - 1) / batch; }
};

class Pretraining {
 public:
  Pretraining(const Corpus& corpus, const PretrainPlan& plan);

  const std::vector<PretrainPhase>& phases() const { return phases_; }
  int64_t steps() const { return phases_.back().end; }
  // What a session of the phase has to be able to hold, beside what `options` says.
  SessionOptions options(const PretrainPhase& phase, SessionOptions options) const;
  // Trains from session.step(), which is in the phase, to its end. `after` as in take_steps.
  void run(Session& session, const PretrainPhase& phase, const AfterSteps& after) const;
  // The held-out texts as sequences of the phase, with masks that are always the same.
  Split held_out(const PretrainPhase& phase) const;
  // Tokens that the first `steps` steps have seen; within an epoch a step counts as its mean.
  double tokens(int64_t steps) const;

 private:
  const Corpus& corpus_;
  PretrainPlan plan_;
  Masker masker_;
  std::vector<PretrainPhase> phases_;
};

// All that a replica has learnt, on its way from one session to the next.
struct Learnt {
  std::map<std::string, std::vector<float>> values;
  OptimizerState optimizer;
};
Learnt take(Session& session, int replica);
void give(Session& session, int replica, const Learnt& learnt);

// The mean over the held-out tokens of -log of how often a token occurs in training (one more each, so that none is
// impossible): what a model that knows words but no context loses.
double unigram_loss(const Corpus& corpus);

}  // namespace mpq
