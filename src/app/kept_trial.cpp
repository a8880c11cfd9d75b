#include "app/kept_trial.h"

#include "base/log.h"

namespace mpq {
namespace {

std::string options_of(const TrialJob& job, const TrialSetting& setting) {
  std::string text = job.recipe + " seed " + std::to_string(job.seed);
  if (job.epochs) text += fmt::format(" epochs {}", *job.epochs);
  if (!job.start.empty()) text += " from " + job.start.filename().string();
  for (const LinearSpec& spec : job.formats) text += " " + to_text(spec);
  if (const Pruning pruning = setting.pruning_of(job)) text += " " + to_text(pruning, *job.model);
  return text;
}

}  // namespace

std::optional<KeptTrial> read_kept(const TrialSetting& setting, const TrialJob& job) {
  if (job.running.empty() || !std::filesystem::exists(job.running)) return {};
  try {
    auto state = read_training_state(job.running, *job.model, options_of(job, setting));
    if (!state) return {};
    KeptTrial kept{read_checkpoint(job.running), std::move(*state)};
    if (!(kept.weights.config == job.model->config())) throw UserError("its state is of another architecture");
    return kept;
  } catch (const UserError& error) {
    log().warn("{} starts from its beginning: {}", job.name, error.what());
    return {};
  }
}

void write_kept(const TrialSetting& setting, const TrialJob& job, Session& session, int replica, TrainingState& state) {
  state.optimizer = session.optimizer_state(replica);
  state.options = options_of(job, setting);
  write_checkpoint(job.running, session, replica, *setting.setup.data.tokenizer, setting.setup.checkpoint_info(),
                   &state);
  state.optimizer = {};  // of many replicas it would take much memory
}

}  // namespace mpq
