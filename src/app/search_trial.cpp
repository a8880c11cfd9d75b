#include "app/search_trial.h"

#include <chrono>
#include <cmath>

#include "base/stop.h"

namespace mpq {

TrialRunner::TrialRunner(Device& device, const Setup& setup, const TrainArgs& train, const Split& selection)
    : device_(device), setup_(setup), train_(train), selection_(selection), model_(setup.config), plan_(plan_of(train)) {}

TrialResult TrialRunner::run(const std::vector<LinearSpec>& formats, uint64_t seed, const Keep& keep, const std::function<void()>& alive) {
  const auto start = std::chrono::steady_clock::now();
  const int64_t steps = plan_.steps(setup_.data.train.row_count());
  Session session(device_, model_, {{seed, schedule_of(train_, steps), formats}}, session_options(train_, setup_.data_options));
  start_weights(session, 0, setup_);
  TrialResult result;
  const auto between = [&] {
    alive();
    if (stop_requested()) throw Stopped("the search");
  };
  train(session, setup_.data.train, plan_, [&](int64_t, const Session::StepResult& step) {
    result.diverged |= !std::isfinite(step.loss[0]) || !std::isfinite(step.norm[0]);
    between();
  });
  result.selection = evaluate(session, selection_, SessionOptions{}.eval_rows, [&](int64_t) { between(); })[0];
  result.diverged |= !result.selection.finite;
  result.value = result.diverged ? majority_share(selection_) : result.selection.accuracy();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!result.diverged)  // a checkpoint holds finite numbers only
    if (const auto folder = keep(result)) write_checkpoint(*folder, session, 0, *setup_.data.tokenizer, setup_.checkpoint_info());
  return result;
}

Evaluation TrialRunner::evaluate_kept(const std::filesystem::path& folder, const Split& split, const std::string& what) {
  const Checkpoint checkpoint = read_checkpoint(folder);
  Session session(device_, model_, {{.formats = checkpoint.formats}}, {.max_tokens = setup_.data_options.max_tokens, .training = false});
  load_into(session, 0, checkpoint);
  return evaluate_with_progress(session, split, what)[0];
}

}  // namespace mpq
