#include "search/memory_storage.h"

namespace mpq {

FrozenTrial& MemoryStorage::trial(int64_t id) {
  const auto [study, number] = places_.at(static_cast<size_t>(id - 1));
  return trials_[study][number];
}

void MemoryStorage::create_study(const StudyRecord& study, const std::function<void()>& when_new) {
  for (const StudyRecord& known : studies_)
    if (known.name == study.name) return;
  if (when_new) when_new();
  studies_.push_back(study);
  studies_.back().id = static_cast<int64_t>(studies_.size());
  trials_.emplace_back();
}

void MemoryStorage::set_study_attr(int64_t study_id, AttributeKind kind, const std::string& key,
                                   const std::string& json) {
  StudyRecord& study = studies_.at(static_cast<size_t>(study_id - 1));
  (kind == AttributeKind::user ? study.user_attrs : study.system_attrs)[key] = json;
}

std::vector<FrozenTrial> MemoryStorage::read_trials(int64_t study_id, int64_t first_number) {
  const auto& all = trials_.at(static_cast<size_t>(study_id - 1));
  return {all.begin() + std::min<int64_t>(first_number, static_cast<int64_t>(all.size())), all.end()};
}

std::optional<FrozenTrial> MemoryStorage::create_trial(int64_t study_id, const Attributes& system_attrs,
                                                       int64_t limit) {
  const auto study = static_cast<size_t>(study_id - 1);
  auto& all = trials_.at(study);
  if (static_cast<int64_t>(all.size()) >= limit) return std::nullopt;
  places_.emplace_back(study, all.size());
  FrozenTrial trial;
  trial.id = static_cast<int64_t>(places_.size());
  trial.number = static_cast<int64_t>(all.size());
  trial.system_attrs = system_attrs;
  trial.started = utc_now();
  trial.heartbeat_age = 0;
  all.push_back(trial);
  return trial;
}

bool MemoryStorage::exchange_system_attr(int64_t trial_id, const std::string& key, const std::string& from,
                                         const std::string& to) {
  FrozenTrial& t = trial(trial_id);
  if (t.state != TrialState::running || t.system_attrs[key] != from) return false;
  t.system_attrs[key] = to;
  return true;
}

bool MemoryStorage::save_trial(const FrozenTrial& changed) {
  FrozenTrial& t = trial(changed.id);
  if (t.state != TrialState::running) return false;
  t = changed;
  return true;
}

void MemoryStorage::heartbeat(const std::vector<int64_t>& trial_ids) {
  for (const int64_t id : trial_ids) trial(id).heartbeat_age = 0;
}

}  // namespace mpq
