// Studies that live as long as the process: for tests and for searches that nobody will resume.
#pragma once
#include "search/storage.h"

namespace mpq {

class MemoryStorage : public Storage {
 public:
  std::vector<StudyRecord> read_studies() override { return studies_; }
  void create_study(const StudyRecord& study, const std::function<void()>& when_new = {}) override;
  void set_study_attr(int64_t study_id, AttributeKind kind, const std::string& key, const std::string& json) override;
  std::vector<FrozenTrial> read_trials(int64_t study_id, int64_t first_number) override;
  std::optional<FrozenTrial> create_trial(int64_t study_id, const Attributes& system_attrs, int64_t limit) override;
  bool exchange_system_attr(int64_t trial_id, const std::string& key, const std::string& from,
                            const std::string& to) override;
  bool save_trial(const FrozenTrial& trial) override;
  void heartbeat(const std::vector<int64_t>& trial_ids) override;

 private:
  FrozenTrial& trial(int64_t id);

  std::vector<StudyRecord> studies_;               // id = index + 1
  std::vector<std::vector<FrozenTrial>> trials_;   // [study][number]
  std::vector<std::pair<size_t, size_t>> places_;  // trial id - 1 -> study, number
};

}  // namespace mpq
