#include "app/search_trial.h"

#include <chrono>
#include <cmath>

#include "base/log.h"
#include "base/progress.h"
#include "base/stop.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::minutes kKeepEvery{5};

struct Diverged {};

}  // namespace

// The state of the trial that runs, in memory and in its folder.
class TrialRunner::Running {
 public:
  Running(const TrialRunner& runner, const TrialJob& job, Session& session)
      : runner_(runner), job_(job), session_(session), options_(job.recipe + " seed " + std::to_string(job.seed)) {
    for (const LinearSpec& spec : job.formats) options_ += " " + to_text(spec);
    if (!continued()) start_weights(session, 0, runner.setup_);
    before_ = state_.seconds;
  }

  double seconds() const { return before_ + std::chrono::duration<double>(Clock::now() - start_).count(); }

  void add(const Session::StepResult& step) {
    if (!std::isfinite(step.loss[0]) || !std::isfinite(step.norm[0])) throw Diverged{};
    state_.loss.push_back(step.loss[0]);
    state_.norm.push_back(step.norm[0]);
    const int every = runner_.train_.checkpoint_every;
    if (every > 0 ? session_.step() % every == 0 : Clock::now() - kept_ > kKeepEvery) keep();
  }

  void stop_if_asked() {
    if (!stop_requested()) return;
    keep();
    throw Stopped("the search; the same command goes on where it stopped");
  }

 private:
  // A damaged state, or one of another trial, costs time and nothing else.
  bool continued() {
    if (job_.running.empty() || !fs::exists(job_.running)) return false;
    try {
      const auto state = read_training_state(job_.running, runner_.model_, options_);
      if (!state) return false;
      load_into(session_, 0, read_checkpoint(job_.running));
      session_.restore(0, state->optimizer);
      state_ = *state;
      return true;
    } catch (const UserError& error) {
      log().warn("{} starts from its beginning: {}", job_.name, error.what());
      return false;
    }
  }

  void keep() {
    kept_ = Clock::now();
    if (job_.running.empty() || session_.step() == 0) return;
    state_.optimizer = session_.optimizer_state(0);
    state_.options = options_;
    state_.seconds = seconds();
    const Setup& setup = runner_.setup_;
    write_checkpoint(job_.running, session_, 0, *setup.data.tokenizer, setup.checkpoint_info(), &state_);
  }

  const TrialRunner& runner_;
  const TrialJob& job_;
  Session& session_;
  std::string options_;
  TrainingState state_;
  double before_ = 0;
  Clock::time_point start_ = Clock::now(), kept_ = start_;
};

TrialRunner::TrialRunner(Device& device, const Setup& setup, const TrainArgs& train, const Split& selection)
    : device_(device),
      setup_(setup),
      train_(train),
      selection_(selection),
      model_(setup.config),
      plan_(plan_of(train)) {}

TrialResult TrialRunner::run(const TrialJob& job, const Then& then, const std::function<void()>& alive) {
  Session session(device_, model_, {replica(job)}, session_options(train_, setup_.data_options));
  Running running(*this, job, session);
  TrainPlan plan = plan_;
  plan.data_seed = job.seed;
  TrialResult result;
  try {
    Progress progress(job.name, steps(), "steps", session.step());
    train(session, setup_.data.train, plan, [&](const Progressed& done) {
      for (const Session::StepResult& numbers : done.results) running.add(numbers);
      progress.update(session.step());
      alive();
      running.stop_if_asked();
    });
    const Evaluation selection = evaluate(session, selection_, [&](int64_t) {
      alive();
      running.stop_if_asked();
    })[0];
    if (!selection.finite) throw Diverged{};
    result.correct = selection.correct();
  } catch (const Diverged&) {
    result.diverged = true;
    result.correct = std::llround(majority_share(selection_) * static_cast<double>(selection_.row_count()));
  }
  result.value = static_cast<double>(result.correct) / static_cast<double>(selection_.row_count());
  result.seconds = running.seconds();
  if (!result.diverged) then(session, result);
  return result;
}

void TrialRunner::write(const fs::path& folder, Session& session) const {
  write_checkpoint(folder, session, 0, *setup_.data.tokenizer, setup_.checkpoint_info());
}

Evaluation TrialRunner::evaluate_kept(const fs::path& folder, const Split& split, const std::string& what) {
  const Checkpoint checkpoint = read_checkpoint(folder);
  Session session(device_, model_, {{.formats = checkpoint.formats}},
                  {.max_tokens = setup_.data_options.max_tokens, .training = false});
  load_into(session, 0, checkpoint);
  return evaluate_with_progress(session, split, what)[0];
}

size_t TrialRunner::memory(const std::vector<LinearSpec>& formats) const {
  return Session::memory(device_, model_, {replica({.formats = formats})}, session_options(train_, setup_.data_options));
}

}  // namespace mpq
