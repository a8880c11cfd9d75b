#include "app/trial.h"

#include <algorithm>

namespace mpq {
namespace {

bool train_alike(const TrialJob& a, const TrialJob& b) {
  return a.model->config() == b.model->config() && a.formats == b.formats && a.pruning == b.pruning &&
         a.seed == b.seed && a.epochs == b.epochs && a.start == b.start;
}

// Each takes the result, and an equal share of its time.
void take_in(TrialJob& job, const TrialJob& twin, double share) {
  job.finished = [first = job.finished, second = twin.finished, share](Session& session, int replica,
                                                                       TrialResult result) {
    const double seconds = result.seconds;
    result.seconds = seconds * (1 - share);
    first(session, replica, result);
    result.seconds = seconds * share;
    second(session, replica, result);
  };
}

}  // namespace

bool TrialSetting::evaluates_base(const TrialJob& job) const {
  const auto trains = [](const LinearSpec& spec) { return trained_count(spec.x) > 0; };
  return train_of(job).epochs == 0 && job.start.empty() && !pruning_of(job) && !job.model->adapters &&
         std::none_of(job.formats.begin(), job.formats.end(), trains);
}

std::vector<TrialJob> once_each(const std::vector<TrialJob>& jobs) {
  std::vector<TrialJob> once;
  std::vector<int> twins;
  for (const TrialJob& job : jobs) {
    const auto same = std::find_if(once.begin(), once.end(), [&](const TrialJob& o) { return train_alike(o, job); });
    if (same == once.end()) {
      once.push_back(job);
      twins.push_back(1);
    } else {
      take_in(*same, job, 1.0 / ++twins[static_cast<size_t>(same - once.begin())]);
    }
  }
  return once;
}

}  // namespace mpq
