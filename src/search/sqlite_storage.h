// Studies in an SQLite file in Optuna's own schema: optuna.load_study and optuna-dashboard open it while mpq works.
// While a search has it open it is in WAL mode (one sync a commit, and readers never wait); the last search to close it
// goes back to DELETE mode, because browser viewers cannot open a WAL file.
#pragma once
#include <unordered_map>

#include "search/sqlite_database.h"
#include "search/storage.h"

namespace mpq {

class SqliteStorage : public Storage {
 public:
  SqliteStorage(const std::filesystem::path& path, OpenMode mode);
  ~SqliteStorage() override;

  std::vector<StudyRecord> read_studies() override;
  void create_study(const StudyRecord& study, const std::function<void()>& when_new = {}) override;
  void set_study_attr(int64_t study_id, AttributeKind kind, const std::string& key, const std::string& json) override;
  std::vector<FrozenTrial> read_trials(int64_t study_id, int64_t first_number) override;
  std::optional<FrozenTrial> create_trial(int64_t study_id, const Attributes& system_attrs, int64_t limit) override;
  bool exchange_system_attr(int64_t trial_id, const std::string& key, const std::string& from,
                            const std::string& to) override;
  bool save_trial(const FrozenTrial& trial) override;
  void heartbeat(const std::vector<int64_t>& trial_ids) override;

 private:
  using Trials = std::vector<FrozenTrial>;  // being read: contiguous numbers, ascending
  void create_tables_if_empty();
  void check_version();
  void enter_wal();
  void set_journal_mode(std::string_view mode);
  Trials read_trial_rows(int64_t study_id, int64_t first_number);
  void read_params(int64_t study_id, Trials& trials);
  void read_values(int64_t study_id, Trials& trials);
  void read_intermediate_values(int64_t study_id, Trials& trials);
  void read_trial_attributes(int64_t study_id, Trials& trials, AttributeKind kind);
  void read_heartbeats(int64_t study_id, Trials& trials);
  std::shared_ptr<const Distribution> distribution(const std::string& json, const std::string& where);
  bool is_running(int64_t trial_id);
  void write_params(const FrozenTrial& trial);
  void write_values(const FrozenTrial& trial);
  void write_attributes(const char* table, const char* owner_column, int64_t owner, const Attributes& attributes);

  Database database_;
  bool leave_wal_;
  std::unordered_map<std::string, std::shared_ptr<const Distribution>> distributions_;  // by JSON text
};

}  // namespace mpq
