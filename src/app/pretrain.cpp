// Pretrains an encoder by masked language modelling and writes it as a Hugging Face folder (BertForMaskedLM).
#include "app/pretrain_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "app/commands.h"
#include "app/pretrain_curve.h"
#include "app/training.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

int longest_sequence(const PretrainPlan& plan) { return plan.long_share > 0 ? plan.long_sequence : plan.sequence; }

std::optional<Checkpoint> read_init(const PretrainOptions& options) {
  if (options.init.empty()) return std::nullopt;
  return read_checkpoint(options.init, Head::masked_lm);
}

Corpus read_corpus(PretrainOptions& options) {
  if (options.corpus.tokenizer.empty()) options.corpus.tokenizer = options.init;
  return load_corpus(options.corpus);
}

BertConfig config_of(const PretrainOptions& options, const std::optional<Checkpoint>& init, const Corpus& corpus) {
  BertConfig config = init ? init->config : parse_model(options.model);
  const int longest = longest_sequence(options.plan);
  if (init) {
    check_vocabulary(*init, *corpus.tokenizer);
    if (longest > config.positions)
      throw UserError(fmt::format("sequences of {} tokens: the checkpoint {} has {} positions", longest, options.init,
                                  config.positions),
                      fmt::format("at most {}", config.positions));
  } else {
    config.vocabulary = corpus.tokenizer->vocab_size();
    config.positions = std::max(512, longest);
  }
  config.hidden_dropout = config.attention_dropout = static_cast<float>(options.dropout);
  return config;
}

// One run: a session a phase, and what a checkpoint of it says.
class Run {
 public:
  explicit Run(PretrainOptions& options, Device& device)
      : options_(options),
        device_(device),
        init_(read_init(options)),
        corpus_(read_corpus(options)),
        model_(config_of(options, init_, corpus_), Head::masked_lm),
        pretraining_(corpus_, options.plan),
        replica_{options.seed, options.schedule(steps()), std::vector<LinearSpec>(model_.linears().size())} {
    for (const PretrainPhase& phase : pretraining_.phases()) check_size(session_options(phase));
  }

  void announce() const {
    fmt::print(stderr, "{}\n{}\n", corpus_.description, describe(model_.config(), Head::masked_lm));
    for (const PretrainPhase& phase : pretraining_.phases())
      fmt::print(stderr, "{}: {} steps of {} sequences of at most {} tokens; {} of memory\n", device_.describe(),
                 phase.end - phase.first_step, phase.batch, phase.sequence,
                 human_bytes(Session::memory(device_, model_, {replica_}, session_options(phase))));
    if (options_.out.empty()) fmt::print(stderr, "nothing will be kept: name a folder with --out DIR\n");
  }

  Json run() {
    if (options_.resume) resume();
    start_ = Clock::now(), seconds_before_ = state_.seconds;
    Progress progress("pretraining", steps(), "steps", state_.optimizer.step);
    Json result;
    for (const PretrainPhase& phase : pretraining_.phases()) {
      const bool last = &phase == &pretraining_.phases().back();
      if (!last && state_.optimizer.step >= phase.end) continue;
      Session session(device_, model_, {replica_}, session_options(phase));
      begin(session);
      train(session, phase, progress);
      if (last)
        result = finish(session, phase);
      else
        learnt_ = take(session, 0);
    }
    return result;
  }

 private:
  int64_t steps() const { return pretraining_.steps(); }

  SessionOptions session_options(const PretrainPhase& phase) const {
    return pretraining_.options(phase, {.clip = options_.clip, .training = options_.plan.epochs > 0});
  }

  // Kernels number the logits of a step with 32 bits.
  void check_size(const SessionOptions& session) const {
    const int64_t rows = int64_t{session.batch_rows} * session.masked_tokens;
    if (rows * model_.decoder_rows() <= INT32_MAX) return;
    throw UserError(fmt::format("--batch {}: {} masked tokens of a step choose among {} tokens each",
                                options_.plan.batch, rows, model_.config().vocabulary),
                    fmt::format("at most {} sequences of {} tokens",
                                INT32_MAX / model_.decoder_rows() / session.masked_tokens, session.max_tokens));
  }

  void resume() {
    const auto state = read_training_state(options_.out, model_, fingerprint());
    if (!state)
      throw UserError(fmt::format("--resume: {} holds no unfinished run", options_.out),
                      "leave --resume away to start one");
    state_ = *state;
    init_ = read_checkpoint(options_.out, Head::masked_lm);
  }

  // What the phase before has learnt; else what was written; else random weights.
  void begin(Session& session) {
    if (learnt_) return give(session, 0, *learnt_);
    if (!init_) return session.initialise();
    load_into(session, 0, *init_);
    if (state_.optimizer.step > 0) session.restore(0, state_.optimizer);
  }

  void train(Session& session, const PretrainPhase& phase, Progress& progress) {
    if (phase.end == phase.first_step) return;
    try {
      pretraining_.run(session, phase, [&](const Progressed& done) {
        const bool stop = stop_requested();
        keep(done);
        progress.update(session.step(), fmt::format("loss {:.4f}", recent_loss()));
        const int every = options_.checkpoint_every;
        if (every > 0 && session.step() % every == 0 && session.step() < steps()) write(session, true);
        if (stop) throw Stopped(fmt::format("pretraining after step {}", session.step()));
      });
    } catch (const Stopped&) {
      if (session.step() < steps()) write(session, true);
      throw;
    }
  }

  void keep(const Progressed& done) {
    for (size_t i = 0; i < done.results.size(); ++i) {
      const float loss = done.results[i].loss[0], norm = done.results[i].norm[0];
      if (!std::isfinite(loss) || !std::isfinite(norm))
        throw UserError(fmt::format("the pretraining diverged at step {}: loss {}, gradient norm {}",
                                    done.first + static_cast<int64_t>(i) + 1, loss, norm),
                        "a smaller --lr or a longer --warmup; nothing of this step was written");
      state_.loss.push_back(loss);
      state_.norm.push_back(norm);
    }
    state_.seconds = seconds_before_ + since(start_);
  }

  // The mean of the last hundred steps: single batches differ.
  double recent_loss() const {
    const auto count = static_cast<int64_t>(std::min<size_t>(100, state_.loss.size()));
    return std::accumulate(state_.loss.end() - count, state_.loss.end(), 0.0) / static_cast<double>(count);
  }

  std::string fingerprint() const {
    return fmt::format("pretrain data {} model {} init {} {}", corpus_.fingerprint,
                       options_.init.empty() ? options_.model : "", options_.init, options_.recipe());
  }

  Json finish(Session& session, const PretrainPhase& phase) {
    write(session, false);
    const Split held_out = pretraining_.held_out(phase);
    const auto masked = static_cast<double>(held_out.masked.tokens.size());
    const double tokens = pretraining_.tokens(steps());
    const auto known = [](const std::optional<double>& loss) { return loss ? Json(*loss) : Json(); };
    PretrainCurve curve{.loss = state_.loss, .norm = state_.norm};
    if (masked > 0) curve.held_out = session.masked_loss(held_out)[0] / masked, curve.unigram = unigram_loss(corpus_);
    for (int64_t step = 1; step <= steps(); ++step) curve.tokens.push_back(pretraining_.tokens(step));
    if (!options_.out.empty()) curve.write(options_.out);
    if (!options_.figure.empty()) make_folders(options_.figure), curve.draw(options_.figure);
    Json result;
    result["final_loss"] = state_.loss.empty() ? Json() : Json(recent_loss());
    result["heldout_loss"] = known(curve.held_out);
    result["heldout_unigram_loss"] = known(curve.unigram);
    result["heldout_masked_tokens"] = held_out.masked.tokens.size();
    result["heldout_sequence"] = phase.sequence;
    result["steps"] = steps();
    result["tokens"] = std::llround(tokens);
    result["tokens_per_s"] = state_.seconds > 0 ? Json(tokens / state_.seconds) : Json();
    result["seconds"] = state_.seconds;
    return result;
  }

  void write(Session& session, bool unfinished) {
    if (options_.out.empty()) return;
    state_.optimizer = unfinished ? session.optimizer_state(0) : OptimizerState{};
    state_.options = fingerprint();
    write_checkpoint(options_.out, session, 0, *corpus_.tokenizer, {.max_tokens = longest_sequence(options_.plan)},
                     unfinished ? &state_ : nullptr);
  }

  const PretrainOptions& options_;
  Device& device_;
  std::optional<Checkpoint> init_;
  Corpus corpus_;
  Bert model_;
  Pretraining pretraining_;
  Replica replica_;
  TrainingState state_;
  std::optional<Learnt> learnt_;
  Clock::time_point start_;
  double seconds_before_ = 0;
};

}  // namespace

int run_pretrain(const Args& args) {
  PretrainOptions options;
  CommandLine line("pretrain",
                   "mpq pretrain [data] [masks] [training] [--out DIR] [--resume]\n\nTeaches an encoder to find masked "
                   "tokens again (masked language modelling), from random weights or from --init DIR, on any text: "
                   "short sequences\nfirst, long ones at the end, new masks every epoch. No sequence spans two texts, "
                   "and none is padded. The folder it writes is a\nHugging Face BertForMaskedLM, and what mpq train "
                   "--init starts from.\n\nExample: mpq pretrain --data imdb --device cuda --precision bf16 --out "
                   "runs/pretrained");
  options.add_to(line);
  if (!line.parse(args)) return 0;
  if (options.resume) line.require({"out"});
  options.settle();
  options.machine.apply();
  install_stop_signals();
  if (!options.out.empty()) check_checkpoint_target(options.out);

  const auto device = options.machine.open();
  Run run(options, *device);
  line.announce();
  run.announce();
  const Json result = run.run();
  if (line.json())
    print_json(result);
  else
    for (const auto& [key, value] : result.items()) fmt::print("{:<22} {}\n", key, value.dump());
  return 0;
}

}  // namespace mpq
