#include "app/kept_trial.h"

#include "base/log.h"

namespace mpq {
namespace {

std::string options_of(const TrialJob& job, const TrialSetting& setting) {
  std::string text = job.recipe + " seed " + std::to_string(job.seed);
  for (const LinearSpec& spec : job.formats) text += " " + to_text(spec);
  if (const Pruning pruning = setting.pruning_of(job)) text += " " + to_text(pruning, setting.model);
  return text;
}

}  // namespace

std::optional<KeptTrial> read_kept(const TrialSetting& setting, const TrialJob& job) {
  if (job.running.empty() || !std::filesystem::exists(job.running)) return {};
  try {
    auto state = read_training_state(job.running, setting.model, options_of(job, setting));
    if (!state) return {};
    return KeptTrial{read_checkpoint(job.running), std::move(*state)};
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
