#include "app/training_run.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "app/freeze_options.h"
#include "base/file.h"
#include "base/stop.h"
#include "base/text.h"

namespace mpq {
namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void print_estimate(double seconds_a_step, int64_t left) {
  fmt::print(stderr, "estimated: {} for the {} steps left\n", human_seconds(seconds_a_step * static_cast<double>(left)),
             left);
}

}  // namespace

void check_targets(const std::vector<RunModel>& models) {
  for (const RunModel& model : models)
    if (!model.folder.empty()) check_checkpoint_target(model.folder);
}

TrainingRun::TrainingRun(RunRecipe recipe, Setup& setup, const Adaptation& adaptation, std::vector<RunModel> models,
                         const Devices& devices)
    : recipe_(std::move(recipe)),
      setup_(setup),
      devices_(devices),
      adaptation_(adaptation),
      models_(std::move(models)),
      model_(setup.config, adaptation_.plan),
      frozen_(freeze()),
      plan_(plan_of(recipe_.train)),
      steps_(plan_.steps(setup.data.train.row_count())),
      replicas_(replicas()),
      session_(replicas_, float_steps(recipe_.train, steps_),
               [this](const std::vector<Replica>& replicas) { return open_session(replicas); }),
      states_(models_.size()) {}

std::vector<std::string> TrainingRun::freeze() {
  std::vector<std::string> frozen = FreezeArgs{recipe_.freeze}.apply(model_);
  if (model_.adapters) freeze_base(model_);
  return frozen;
}

void TrainingRun::take_base(uint64_t seed) {
  if (has_own_base(recipe_.train)) setup_.start_from(base_of(recipe_.train, seed));
}

std::vector<Replica> TrainingRun::replicas() {
  std::vector<Replica> all;
  for (const RunModel& model : models_) all.push_back(replica(model));
  return all;
}

Replica TrainingRun::replica(const RunModel& model) {
  take_base(model.seed);
  return {.seed = model.seed,
          .schedule = schedule_of(recipe_.train, steps_),
          .formats = formats(model.seed),
          .pruning = setup_.init ? setup_.init->pruning : Pruning{},
          .lora = model.lora};
}

// Scales are chosen on the base, without adapters.
ClosedFormats TrainingRun::formats(uint64_t seed) {
  const ClosedFormats before = setup_.init ? setup_.init->formats : ClosedFormats{};
  const auto start_base = [this](Session& session) {
    setup_.init ? start_weights(session, 0, *setup_.init) : start_weights(session, setup_);
  };
  return recipe_.calibration.close({recipe_.formats.parse(model_, before)}, *devices_[0], model_,
                                   setup_.data_options.max_tokens, setup_.data.train, seed, start_base)[0];
}

SessionOptions TrainingRun::session_options() const {
  SessionOptions options = mpq::session_options(recipe_.train, setup_.data_options);
  options.shards = recipe_.shards;
  return options;
}

std::unique_ptr<Session> TrainingRun::open_session(const std::vector<Replica>& replicas) const {
  if (devices_.size() == 1) return std::make_unique<Session>(*devices_[0], model_, replicas, session_options());
  return std::make_unique<Session>(*devices_[0], *devices_[1], model_, replicas.at(0), session_options());
}

size_t TrainingRun::memory() const {
  SessionOptions options = session_options();
  if (devices_.size() > 1) options.shard = 0;
  return Session::memory(*devices_[0], model_, replicas_, options);
}

void TrainingRun::start() {
  session_.begin(0);
  if (!has_own_base(recipe_.train)) return start_weights(*session_, setup_);
  for (size_t r = 0; r < models_.size(); ++r) {
    take_base(models_[r].seed);
    start_weights(*session_, static_cast<int>(r), *setup_.init);
  }
}

// Where the folders are of two steps, a kill came in the moment between their names.
void TrainingRun::resume() {
  for (size_t r = 0; r < models_.size(); ++r) states_[r] = read_state(r);
  session_.begin(states_[0].optimizer.step);
  for (size_t r = 0; r < models_.size(); ++r) {
    const int replica = static_cast<int>(r);
    if (model_.adapters) {
      take_base(models_[r].seed);
      Checkpoint base = *setup_.init;
      const AdapterFolder adapter = read_adapter(models_[r].folder, base);
      load_into(*session_, replica, base);
      load_adapter(*session_, replica, adapter);
    } else {
      load_into(*session_, replica, read_checkpoint(models_[r].folder));
    }
    session_->restore(replica, states_[r].optimizer);
    states_[r].optimizer = {.step = states_[r].optimizer.step};
  }
}

TrainingState TrainingRun::read_state(size_t r) {
  auto state = read_training_state(models_[r].folder, model_, fingerprint(r));
  if (!state || (r > 0 && state->optimizer.step != states_[0].optimizer.step))
    throw UserError(fmt::format("--resume: {} holds no unfinished run{}", models_[r].folder,
                                state ? " of the same step as the others" : ""),
                    "leave --resume away to start one");
  return *std::move(state);
}

void TrainingRun::train() {
  const auto start = Clock::now();
  const double before = states_[0].seconds;
  const int64_t first = session_->step();
  const auto after = [&](const Progressed& done) {
    see(done);
    for (TrainingState& state : states_) state.seconds = before + since(start);
    const int64_t step = session_->step();
    if (done.first < first + 20 && step >= first + 20)
      print_estimate(since(start) / static_cast<double>(step - first), steps_ - step);
    const int every = recipe_.train.checkpoint_every;
    if (every > 0 && step % every == 0 && step < steps_) write(true);
  };
  try {
    session_.train(plan_, [&](Session& session, const TrainPlan& phase) {
      const char* what = phase.pause > 0 ? "training in float" : "training";
      train_with_progress(session, setup_.data.train, phase, what, after);
    });
  } catch (const Stopped&) {
    if (session_->step() < steps_) write(true);
    throw;
  }
  const double rows = static_cast<double>(setup_.data.train.row_count()), batch = plan_.batch;
  const double trained = static_cast<double>(steps_) / std::ceil(rows / batch) * rows;
  speed_.seconds = states_[0].seconds;
  if (speed_.seconds > 0) speed_.train_rows_per_s = trained * static_cast<double>(models_.size()) / speed_.seconds;
  write(false);
}

void TrainingRun::see(const Progressed& done) {
  for (size_t i = 0; i < done.results.size(); ++i)
    for (size_t r = 0; r < models_.size(); ++r) {
      const float loss = done.results[i].loss[r], norm = done.results[i].norm[r];
      if (!std::isfinite(loss) || !std::isfinite(norm))
        throw UserError(fmt::format("the training{} diverged at step {}: loss {}, gradient norm {}", name(r),
                                    done.first + static_cast<int64_t>(i) + 1, loss, norm),
                        "a smaller --lr, a --warmup or a wider --format; nothing of this step was written");
      states_[r].loss.push_back(loss);
      states_[r].norm.push_back(norm);
    }
}

std::vector<RunResult> TrainingRun::evaluate() {
  const auto start = Clock::now();
  std::vector<RunResult> results(models_.size());
  int64_t rows = 0;
  const auto on = [&](const Split& split, const char* name, std::optional<double> RunResult::*accuracy) {
    if (split.row_count() == 0) return;
    const auto evaluations = evaluate_with_progress(*session_, split, fmt::format("evaluating {}", name));
    for (size_t r = 0; r < results.size(); ++r) results[r].*accuracy = evaluations[r].accuracy();
    rows += split.row_count();
  };
  on(setup_.data.test, "test", &RunResult::test);
  on(setup_.data.valid, "valid", &RunResult::valid);
  const double seconds = since(start);
  speed_.eval_rows_per_s = static_cast<double>(rows * static_cast<int64_t>(models_.size())) / seconds;
  speed_.seconds += seconds;
  for (size_t r = 0; r < results.size(); ++r) {
    if (!states_[r].loss.empty()) results[r].loss = states_[r].loss.back();
    results[r].trained_parameters = trained_parameters(model_, replicas_[r].lora.rank);
  }
  return results;
}

// A kill between two folders that take their places would leave them of two steps: all are written before.
void TrainingRun::write(bool unfinished) {
  check_targets(models_);
  std::vector<std::unique_ptr<AtomicFolder>> folders;
  for (size_t r = 0; r < models_.size(); ++r) {
    if (models_[r].folder.empty()) continue;
    const AtomicFolder& folder = *folders.emplace_back(std::make_unique<AtomicFolder>(models_[r].folder));
    states_[r].options = fingerprint(r);
    if (unfinished) states_[r].optimizer = session_->optimizer_state(static_cast<int>(r));
    write_model(folder, r, unfinished ? &states_[r] : nullptr);
    if (!unfinished) write_curve(folder, r);
    states_[r].optimizer = {};
  }
  AtomicFolder::commit_all(folders);
}

void TrainingRun::write_model(const AtomicFolder& folder, size_t r, const TrainingState* state) {
  const CheckpointInfo info = setup_.checkpoint_info();
  const int replica = static_cast<int>(r);
  if (!model_.adapters)
    write_checkpoint(folder, *session_, replica, *setup_.data.tokenizer, info, state);
  else if (state || !recipe_.merge)
    write_adapter(folder, *session_, replica, info, base_of(recipe_.train, models_[r].seed), state);
  else
    write_merged(folder, r, info);
}

void TrainingRun::write_merged(const AtomicFolder& folder, size_t r, const CheckpointInfo& info) {
  const Bert plain(setup_.config);
  const Replica replica{.formats = replicas_[r].formats, .pruning = of_activations(replicas_[r].pruning)};
  Session merged(*devices_[0], plain, {replica}, {.max_tokens = setup_.data_options.max_tokens, .training = false});
  merge_adapters(*session_, static_cast<int>(r), merged);
  write_checkpoint(folder, merged, 0, *setup_.data.tokenizer, info);
}

void TrainingRun::write_curve(const AtomicFolder& folder, size_t r) const {
  const TrainingState& state = states_[r];
  std::string text = "step\tloss\tnorm\n";
  for (size_t i = 0; i < state.loss.size(); ++i)
    text += fmt::format("{}\t{:.9g}\t{:.9g}\n", i + 1, state.loss[i], state.norm[i]);
  write_file_atomic(folder.path() / "loss.tsv", text);
}

// Everything that decides the bits of a model; equal fingerprints may continue each other.
std::string TrainingRun::fingerprint(size_t r) const {
  const TrainArgs& t = recipe_.train;
  const Replica& replica = replicas_[r];
  std::string text = fmt::format("data {} model {} init {} {} formats ", setup_.data.fingerprint,
                                 t.init.empty() ? t.model : "", base_of(t, replica.seed), t.recipe());
  for (const LinearSpec& s : replica.formats) text += to_text(s) + "|";
  text += recipe_.precision;
  if (replica.seed != t.seed) text += fmt::format(" own seed {}", replica.seed);
  if (recipe_.shards > 1) text += fmt::format(" shards {}", recipe_.shards);
  if (!frozen_.empty()) text += " frozen " + join(frozen_, ",");
  if (replica.pruning) text += " pruning " + to_text(replica.pruning, model_);
  if (model_.adapters)
    text += fmt::format(" lora {} {} {} {} {}", replica.lora.rank, replica.lora.alpha, adaptation_.plan.dropout,
                        join(adaptation_.plan.linears, ","), recipe_.adapter);
  return text;
}

std::string TrainingRun::name(size_t r) const {
  if (models_.size() == 1) return "";
  const std::string rank = model_.adapters ? fmt::format(", rank {}", models_[r].lora.rank) : "";
  return fmt::format(" of the seed {}{}", models_[r].seed, rank);
}

}  // namespace mpq
