#include "train/pretraining.h"

#include <algorithm>
#include <cmath>
#include <future>
#include <utility>

#include "base/parallel.h"

namespace mpq {
namespace {

constexpr uint32_t kHeldOutDraw = UINT32_MAX;

// The rows of an epoch, in its own order; `draw` counts the epochs of the whole run.
StepOrder epoch_steps(const PretrainPhase& phase, uint64_t seed, uint32_t draw) {
  StepOrder result;
  const std::vector<int64_t> order = epoch_order(phase.rows, seed, draw);
  result.order.assign(order.begin(), order.end());
  for (int64_t end = phase.batch; end < phase.rows + phase.batch; end += phase.batch)
    result.first.push_back(std::min(end, phase.rows));
  return result;
}

}  // namespace

Pretraining::Pretraining(const Corpus& corpus, const PretrainPlan& plan)
    : corpus_(corpus), plan_(plan), masker_(*corpus.tokenizer, plan.masks) {
  const auto add = [&](int sequence, double epochs) {
    if (epochs <= 0) return;
    PretrainPhase phase{.sequence = sequence,
                        .batch = std::max(1, static_cast<int>(int64_t{plan.batch} * plan.sequence / sequence)),
                        .first_step = phases_.empty() ? 0 : phases_.back().end,
                        .rows = Pieces::count(corpus.train, sequence),
                        .first_draw = 0};
    const double steps = epochs * static_cast<double>(phase.steps_per_epoch());
    phase.end = phase.first_step + std::max<int64_t>(1, std::llround(steps));
    if (!phases_.empty()) phase.first_draw = static_cast<uint32_t>(std::ceil(plan.epochs * (1 - plan.long_share)));
    phases_.push_back(phase);
  };
  add(plan.sequence, plan.epochs * (1 - plan.long_share));
  add(plan.long_sequence, plan.epochs * plan.long_share);
  if (phases_.empty())
    phases_.push_back({plan.sequence, plan.batch, 0, 0, Pieces::count(corpus.train, plan.sequence), 0});
}

SessionOptions Pretraining::options(const PretrainPhase& phase, SessionOptions options) const {
  options.batch_rows = options.eval_rows = phase.batch;
  options.max_tokens = phase.sequence;
  options.masked_tokens = Masker::most(plan_.masks, phase.sequence);
  return options;
}

void Pretraining::run(Session& session, const PretrainPhase& phase, const AfterSteps& after) const {
  const Pieces pieces(corpus_.train, corpus_.tokenizer->special(), phase.sequence);
  const int64_t per_epoch = phase.steps_per_epoch();
  struct Epoch {
    Split split;
    StepOrder order;
  };
  const auto epoch_of = [&](uint32_t draw) {
    return Epoch{masker_.mask(pieces, draw), epoch_steps(phase, plan_.data_seed, draw)};
  };
  std::future<Epoch> coming;  // drawn while a GPU trains on the epoch before
  while (session.step() < phase.end) {
    const int64_t epoch = (session.step() - phase.first_step) / per_epoch;
    const int64_t first = phase.first_step + epoch * per_epoch, last = std::min(phase.end, first + per_epoch);
    const auto draw = static_cast<uint32_t>(phase.first_draw + epoch);
    Epoch now = coming.valid() ? coming.get() : epoch_of(draw);
    if (last < phase.end)
      coming = std::async(std::launch::async, [&epoch_of, draw] {
        const Alone alone;
        return epoch_of(draw + 1);
      });
    session.attach(now.split, std::move(now.order), first);
    take_steps(session, last, plan_.stop_every, after);
  }
}

Split Pretraining::held_out(const PretrainPhase& phase) const {
  return masker_.mask({corpus_.held_out, corpus_.tokenizer->special(), phase.sequence}, kHeldOutDraw);
}

double Pretraining::tokens(int64_t steps) const {
  double tokens = 0;
  for (const PretrainPhase& phase : phases_) {
    const auto per_epoch = static_cast<double>(corpus_.train.tokens.size() + 2 * static_cast<size_t>(phase.rows));
    const int64_t done = std::clamp(steps, phase.first_step, phase.end) - phase.first_step;
    tokens += static_cast<double>(done) / static_cast<double>(phase.steps_per_epoch()) * per_epoch;
  }
  return tokens;
}

Learnt take(Session& session, int replica) {
  Learnt learnt;
  for (const Parameter& p : session.model().parameters().all()) learnt.values[p.name] = session.get(replica, p);
  learnt.optimizer = session.optimizer_state(replica);
  return learnt;
}

void give(Session& session, int replica, const Learnt& learnt) {
  for (const Parameter& p : session.model().parameters().all()) session.set(replica, p, learnt.values.at(p.name));
  session.restore(replica, learnt.optimizer);
}

double unigram_loss(const Corpus& corpus) {
  std::vector<double> counts(static_cast<size_t>(corpus.tokenizer->vocab_size()), 1.0);
  for (const int32_t token : corpus.train.tokens) ++counts[token];
  const double total = static_cast<double>(corpus.train.tokens.size() + counts.size());
  double loss = 0;
  for (const int32_t token : corpus.held_out.tokens) loss -= std::log(counts[token] / total);
  return loss / static_cast<double>(std::max<size_t>(1, corpus.held_out.tokens.size()));
}

}  // namespace mpq
