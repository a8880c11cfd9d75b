// Trains a classifier, in float or quantization-aware, and writes it as a Hugging Face folder.
#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "app/calibration_options.h"
#include "app/commands.h"
#include "app/format_options.h"
#include "app/freeze_options.h"
#include "app/known_baseline.h"
#include "app/lora_options.h"
#include "app/teacher_options.h"
#include "app/training.h"
#include "base/file.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/text.h"
#include "train/phased_session.h"

namespace mpq {
namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Options {
  DataArgs data;
  TrainArgs train;
  FormatArgs formats;
  CalibrationArgs calibration;
  FreezeArgs freeze;
  LoraArgs lora;
  TeacherArgs teacher;
  MachineArgs machine;
  std::string out;
  bool resume = false;
  int shards = 1;

  SessionOptions session(const Setup& setup) const {
    SessionOptions session = session_options(train, setup.data_options);
    session.shards = shards;
    return session;
  }
};

// One training run: the session, and what a checkpoint of it says.
class Run {
 public:
  Run(const Options& options, const Setup& setup, const Devices& devices)
      : options_(options),
        setup_(setup),
        device_(*devices[0]),
        adaptation_(options.lora.resolve(setup.config, setup.adapter)),
        model_(setup.config, adaptation_.plan),
        frozen_(freeze()),
        plan_(plan_of(options.train)),
        steps_(plan_.steps(setup.data.train.row_count())),
        replica_{options.train.seed, schedule_of(options.train, steps_), formats(*devices[0]), pruning(),
                 adaptation_.loras[0]},
        session_({replica_}, float_steps(options.train, steps_),
                 [this, &devices](const std::vector<Replica>& r) { return open_session(devices, r[0]); }) {}

  void start() {
    if (options_.resume)
      if (const auto state = read_training_state(options_.out, model_, fingerprint())) {
        session_.begin(state->optimizer.step);
        read_weights();
        session_->restore(0, state->optimizer);
        state_ = *state;
        return;
      }
    if (options_.resume)
      throw UserError(fmt::format("--resume: {} holds no unfinished run", options_.out),
                      "leave --resume away to start one");
    session_.begin(0);
    start_weights(*session_, setup_);
  }

  void train() {
    const auto start = Clock::now();
    const double before = state_.seconds;
    const int64_t first = session_->step();
    const auto after = [&](const Progressed& done) {
      for (size_t i = 0; i < done.results.size(); ++i) {
        check_finite(done.first + static_cast<int64_t>(i) + 1, done.results[i]);
        state_.loss.push_back(done.results[i].loss[0]);
        state_.norm.push_back(done.results[i].norm[0]);
      }
      state_.seconds = before + since(start);
      const int64_t step = session_->step();
      if (done.first < first + 20 && step >= first + 20)
        estimate(since(start) / static_cast<double>(step - first), steps_ - step);
      const int every = options_.train.checkpoint_every;
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
    trained_rows_ = static_cast<double>(steps_) /
                    static_cast<double>((setup_.data.train.row_count() + plan_.batch - 1) / plan_.batch) *
                    static_cast<double>(setup_.data.train.row_count());
    write(false);
  }

  nlohmann::ordered_json evaluate() {
    nlohmann::ordered_json result;
    const auto start = Clock::now();
    int64_t rows = 0;
    for (const auto& [name, split] : {std::pair{"test", &setup_.data.test}, {"valid", &setup_.data.valid}}) {
      const std::string key = std::string(name) + "_accuracy";
      result[key] = nullptr;
      if (split->row_count() == 0) continue;
      result[key] = evaluate_with_progress(*session_, *split, fmt::format("evaluating {}", name))[0].accuracy();
      rows += split->row_count();
    }
    const auto baseline = known_baseline(setup_.data.splits);
    const auto to_beat = baseline ? baseline->test.accuracy() : std::nullopt;
    result["baseline_test_accuracy"] = to_beat ? nlohmann::ordered_json(*to_beat) : nullptr;
    const double seconds = since(start);
    result["train_rows_per_s"] = state_.seconds > 0 ? trained_rows_ / state_.seconds : 0;
    result["eval_rows_per_s"] = rows > 0 ? static_cast<double>(rows) / seconds : 0;
    result["seconds"] = state_.seconds + seconds;
    if (!state_.loss.empty()) result["final_loss"] = state_.loss.back();
    result["steps"] = steps_;
    result["trained_parameters"] = trained_parameters(model_, replica_.lora.rank);
    return result;
  }

  // Of the model; and what trains, where adapters do.
  std::string describe() const {
    if (model_.adapters) return describe_adapters(model_, replica_.lora);
    const int64_t frozen = model_.parameters().frozen_count();
    return frozen > 0 ? fmt::format("{} of these parameters are frozen", frozen) : "";
  }

  int64_t steps() const { return steps_; }
  const Replica& replica() const { return replica_; }
  const Bert& model() const { return model_; }

 private:
  std::unique_ptr<Session> open_session(const Devices& devices, const Replica& replica) const {
    const SessionOptions session = options_.session(setup_);
    if (devices.size() == 1) return std::make_unique<Session>(*devices[0], model_, std::vector{replica}, session);
    return std::make_unique<Session>(*devices[0], *devices[1], model_, replica, session);
  }

  std::vector<std::string> freeze() {
    std::vector<std::string> frozen = options_.freeze.apply(model_);
    if (model_.adapters) freeze_base(model_);
    return frozen;
  }

  // Of the unfinished run in --out.
  void read_weights() {
    if (!model_.adapters) return load_into(*session_, 0, read_checkpoint(options_.out));
    Checkpoint base = *setup_.init;
    const AdapterFolder adapter = read_adapter(options_.out, base);
    load_into(*session_, 0, base);
    load_adapter(*session_, 0, adapter);
  }

  // Scales are chosen on the base, without adapters.
  void start_base(Session& session) const {
    setup_.init ? start_weights(session, 0, *setup_.init) : start_weights(session, setup_);
  }

  ClosedFormats formats(Device& device) const {
    const ClosedFormats before = setup_.init ? setup_.init->formats : ClosedFormats{};
    return options_.calibration.close({options_.formats.parse(model_, before)}, device, model_,
                                      setup_.data_options.max_tokens, setup_.data.train, options_.train.seed,
                                      [this](Session& session) { start_base(session); })[0];
  }

  Pruning pruning() const { return setup_.init ? setup_.init->pruning : Pruning{}; }

  // Everything that decides the bits of a run; equal fingerprints may continue each other.
  std::string fingerprint() const {
    const TrainArgs& t = options_.train;
    std::string specs;
    for (const LinearSpec& s : replica_.formats) specs += to_text(s) + "|";
    return fmt::format("data {} model {} init {} {} formats {}{}{}{}{}", setup_.data.fingerprint,
                       t.init.empty() ? t.model : "", t.init, t.recipe(), specs, options_.machine.precision_in_recipe(),
                       options_.shards > 1 ? fmt::format(" shards {}", options_.shards) : "",
                       frozen_.empty() ? "" : " frozen " + join(frozen_, ","),
                       replica_.pruning ? " pruning " + to_text(replica_.pruning, model_) : "") +
           lora_recipe();
  }
  std::string lora_recipe() const {
    if (!model_.adapters) return "";
    return fmt::format(" lora {} {} {} {} {}", replica_.lora.rank, replica_.lora.alpha, adaptation_.plan.dropout,
                       join(adaptation_.plan.linears, ","), options_.lora.adapter);
  }

  static void estimate(double seconds_a_step, int64_t left) {
    fmt::print(stderr, "estimated: {} for the {} steps left\n",
               human_seconds(seconds_a_step * static_cast<double>(left)), left);
  }

  static void check_finite(int64_t step, const Session::StepResult& result) {
    if (std::isfinite(result.loss[0]) && std::isfinite(result.norm[0])) return;
    throw UserError(fmt::format("the training diverged at step {}: loss {}, gradient norm {}", step, result.loss[0],
                                result.norm[0]),
                    "a smaller --lr, a --warmup or a wider --format; nothing of this step was written");
  }

  void write(bool unfinished) {
    if (options_.out.empty()) return;
    state_.optimizer = unfinished ? session_->optimizer_state(0) : OptimizerState{};
    state_.options = fingerprint();
    const CheckpointInfo info = setup_.checkpoint_info();
    const TrainingState* state = unfinished ? &state_ : nullptr;
    if (!model_.adapters)
      write_checkpoint(options_.out, *session_, 0, *setup_.data.tokenizer, info, state);
    else if (unfinished || !options_.lora.merge)
      write_adapter(options_.out, *session_, 0, info, options_.train.init, state);
    else
      write_merged(info);
    if (!unfinished) write_curve();
  }

  void write_merged(const CheckpointInfo& info) {
    const Bert plain(setup_.config);
    Session merged(device_, plain, {{.formats = replica_.formats, .pruning = of_activations(replica_.pruning)}},
                   {.max_tokens = setup_.data_options.max_tokens, .training = false});
    merge_adapters(*session_, 0, merged);
    write_checkpoint(options_.out, merged, 0, *setup_.data.tokenizer, info);
  }

  void write_curve() const {
    std::string text = "step\tloss\tnorm\n";
    for (size_t i = 0; i < state_.loss.size(); ++i)
      text += fmt::format("{}\t{:.9g}\t{:.9g}\n", i + 1, state_.loss[i], state_.norm[i]);
    write_file_atomic(std::filesystem::path(options_.out) / "loss.tsv", text);
  }

  const Options& options_;
  const Setup& setup_;
  Device& device_;
  Adaptation adaptation_;
  Bert model_;
  std::vector<std::string> frozen_;  // before the session, which is opened on the model with them
  TrainPlan plan_;
  int64_t steps_;
  Replica replica_;
  PhasedSession session_;
  TrainingState state_;
  double trained_rows_ = 0;
};

void print_plan(const Setup& setup, const Run& run, const Options& options, const Devices& devices) {
  SessionOptions session = options.session(setup);
  if (devices.size() > 1) session.shard = 0;
  fmt::print(stderr, "{}\n{}\n", setup.data.description, describe(setup.config));
  if (const std::string trained = run.describe(); !trained.empty()) fmt::print(stderr, "{}\n", trained);
  for (const auto& device : devices)
    fmt::print(stderr, "{}: {} steps of {} rows; {} of memory\n", device->describe(), run.steps(), options.train.batch,
               human_bytes(Session::memory(*device, run.model(), {run.replica()}, session)));
  if (options.out.empty()) fmt::print(stderr, "nothing will be kept: name a folder with --out DIR\n");
}

// Two GPUs take a half of every batch each.
Devices open_devices(Options& options, const CommandLine& line) {
  Devices devices = options.machine.open_all();
  if (devices.size() > 2)
    throw UserError(fmt::format("--device {}: training takes one or two GPUs", options.machine.device),
                    "a batch is summed as two halves at most; mpq search takes more");
  if (devices.size() == 1) return devices;
  if (line.given("shards") && options.shards != 2)
    throw UserError(fmt::format("--shards {} on two GPUs", options.shards),
                    "two GPUs are --shards 2, or leave it away");
  options.shards = 2;
  return devices;
}

}  // namespace

int run_train(const Args& args) {
  Options options;
  CommandLine line("train",
                   "mpq train [data] [training] [--format SPEC] [--out DIR] [--resume]\n\nTrains a classifier from "
                   "random weights or from --init DIR; "
                   "the defaults are the labs' recipe. With --format its\nLinears are quantized in every step "
                   "(quantization-aware training). A fifth of the "
                   "training data is held out for\nvalidation (--valid 0: none). The folder it writes is a Hugging "
                   "Face model; with --lora it is a folder of peft,\nunless --merge.\n\nExample: mpq train --data imdb "
                   "--format \"integer(width=8,frac=4)\" --out runs/int8");
  options.data.add_to(line);
  options.train.add_to(line);
  options.formats.add_to(line);
  options.calibration.add_to(line);
  options.freeze.add_to(line);
  options.lora.add_to(line);
  options.teacher.add_to(line);
  options.machine.add_to(line);
  line.group("Run");
  line.option("out", options.out, "DIR", "where the model goes");
  line.flag("resume", options.resume, "continue the unfinished run in --out, bit for bit");
  line.option("shards", options.shards, "N",
              "2: every batch's gradient is the sum of two halves', with the same bits on one device and on two; two "
              "GPUs imply it",
              {.min = 1, .max = 2});
  if (!line.parse(args)) return 0;
  if (options.resume) line.require({"out"});
  options.lora.check_against(line);
  options.machine.apply();
  install_stop_signals();
  if (!options.out.empty()) check_checkpoint_target(options.out);

  const Devices devices = open_devices(options, line);
  Setup setup(options.teacher.with_unlabelled(options.data.options()), options.train, options.lora.adapter);
  options.teacher.apply(setup, *devices[0]);
  Run run(options, setup, devices);
  line.announce();
  print_plan(setup, run, options, devices);
  run.start();
  run.train();
  const nlohmann::ordered_json result = run.evaluate();
  if (line.json())
    print_json(result);
  else
    for (const auto& [key, value] : result.items()) fmt::print("{:<22} {}\n", key, value.dump());
  if (!line.json()) fmt::print("{}\n", baseline_line(setup.data.splits));
  return 0;
}

}  // namespace mpq
