#include "app/training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/progress.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
namespace {

DataOptions with_tokenizer(DataOptions options, const std::string& init) {
  if (options.tokenizer.empty() && !init.empty()) options.tokenizer = init;
  return options;
}

}  // namespace

Setup::Setup(DataOptions options, const TrainArgs& train, const std::string& adapter_folder)
    : data_options(with_tokenizer(std::move(options), train.init)) {
  if (!train.init.empty()) init = read_checkpoint(train.init);
  if (!adapter_folder.empty()) adapter = read_adapter(adapter_folder, init.value());
  data = load_dataset(data_options);
  if (init) {
    check_vocabulary(*init, *data.tokenizer);
    replace_labels(*init, data.label_names);
    config = init->config;
    if (data_options.max_tokens > config.positions)
      throw UserError(fmt::format("--max-tokens {}: the checkpoint {} has {} positions", data_options.max_tokens,
                                  train.init, config.positions),
                      fmt::format("at most {}", config.positions));
  } else {
    config = parse_model(train.model);
    config.vocabulary = data.tokenizer->vocab_size();
    config.positions = std::max(512, data_options.max_tokens);
    config.classes = static_cast<int>(data.label_names.size());
  }
  config.hidden_dropout = config.attention_dropout = static_cast<float>(train.dropout);
}

void Setup::start_from(const std::string& folder) {
  Checkpoint other = read_checkpoint(folder);
  check_vocabulary(other, *data.tokenizer);
  replace_labels(other, data.label_names);
  BertConfig shape = other.config;
  shape.hidden_dropout = config.hidden_dropout, shape.attention_dropout = config.attention_dropout;
  if (shape != config) throw UserError(fmt::format("--init {}: a model of another shape", folder), describe(config));
  init = std::move(other);
}

TrainPlan plan_of(const TrainArgs& train) { return {train.epochs, train.batch, train.seed, train.checkpoint_every}; }

Schedule schedule_of(const TrainArgs& train, int64_t steps) {
  return {.learning_rate = train.lr,
          .weight_decay = train.weight_decay,
          .warmup_steps = static_cast<int64_t>(std::ceil(train.warmup * static_cast<double>(steps))),
          .steps = steps,
          .decay = parse_decay(train.decay)};
}

int64_t float_steps(const TrainArgs& train, int64_t steps) {
  return static_cast<int64_t>(std::ceil(train.quantize_after * static_cast<double>(steps)));
}

SessionOptions session_options(const TrainArgs& train, const DataOptions& data) {
  return {.batch_rows = train.batch, .max_tokens = data.max_tokens, .clip = train.clip, .training = train.epochs > 0};
}

void start_weights(Session& session, const Setup& setup) {
  if (!setup.init) session.initialise();
  for (int r = 0; r < session.parameter_sets(); ++r) {
    if (setup.init)
      start_weights(session, r, *setup.init);
    else if (session.replica(r).pruning.weights)
      session.prune(r);
    if (setup.adapter) load_adapter(session, r, *setup.adapter);
  }
}

// A checkpoint that was pruned in the same way goes on with its masks.
void start_weights(Session& session, int replica, const Checkpoint& checkpoint) {
  load_into(session, replica, checkpoint);
  const Pruning& pruning = session.replica(replica).pruning;
  if (pruning.weights && checkpoint.pruning != pruning) session.prune(replica);
}

std::string describe(const BertConfig& c, Head head) {
  const Bert model(c, head);
  return fmt::format("BERT with {} layers, hidden {}, {} heads, feed-forward {}, vocabulary {}: {} parameters",
                     c.layers, c.hidden, c.heads, c.ffn, c.vocabulary, model.parameters().count());
}

void train_with_progress(Session& session, const Split& split, const TrainPlan& plan, const std::string& what,
                         const AfterSteps& after) {
  Progress progress(what, plan.pause > 0 ? plan.pause : plan.steps(split.row_count()), "steps", session.step());
  train(session, split, plan, [&](const Progressed& done) {
    const bool stop = stop_requested();
    if (after) after(done);
    progress.update(session.step(), fmt::format("loss {:.4f}", done.results.back().loss[0]));
    if (stop) throw Stopped(fmt::format("{} after step {}", what, session.step()));
  });
}

std::vector<Evaluation> evaluate_with_progress(Session& session, const Split& split, const std::string& what) {
  Progress progress(what, split.row_count(), "rows");
  return evaluate(session, split, [&](int64_t rows) {
    progress.update(rows);
    if (stop_requested()) throw Stopped(what);
  });
}

}  // namespace mpq
