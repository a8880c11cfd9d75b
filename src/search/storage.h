// Where studies live. A storage keeps trials and knows nothing of samplers; every call is one transaction, so that
// several processes can work on one study. Another kind of storage is one file and one line in storage.cpp.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "search/frozen_trial.h"

namespace mpq {

struct StudyRecord {
  int64_t id = 0;
  std::string name;
  std::vector<Direction> directions;  // one an objective
  Attributes user_attrs, system_attrs;
};

enum class AttributeKind { user, system };

class Storage {
 public:
  virtual ~Storage() = default;

  virtual std::vector<StudyRecord> read_studies() = 0;  // by id

  // Creates the study, with its attributes, unless one of that name exists: then that one is left as it is.
  // `when_new` is called if it did not, before another process can see the study.
  virtual void create_study(const StudyRecord& study, const std::function<void()>& when_new = {}) = 0;
  virtual void set_study_attr(int64_t study_id, AttributeKind kind, const std::string& key,
                              const std::string& json) = 0;

  // The study's trials from that number on, by number. UserError if the numbers are not contiguous.
  virtual std::vector<FrozenTrial> read_trials(int64_t study_id, int64_t first_number) = 0;

  // A new RUNNING trial with the next number, its start time, its heartbeat and these system attributes; nothing if
  // the study has `limit` trials already.
  virtual std::optional<FrozenTrial> create_trial(int64_t study_id, const Attributes& system_attrs, int64_t limit) = 0;

  // Sets one system attribute of a RUNNING trial from one value to another; false if it was not that value any more.
  virtual bool exchange_system_attr(int64_t trial_id, const std::string& key, const std::string& from,
                                    const std::string& to) = 0;

  // Writes parameters, values, intermediate values, attributes and state of a trial that is RUNNING in the storage.
  // False, and nothing written, if it is not RUNNING there: finished trials are never modified.
  virtual bool save_trial(const FrozenTrial& trial) = 0;

  virtual void heartbeat(const std::vector<int64_t>& trial_ids) = 0;

  // The study of that name; UserError that lists the names there are.
  StudyRecord read_study(const std::string& name);
};

enum class OpenMode {
  existing,  // to look at: the file must be there
  create     // to search: made if it is not there
};

// sqlite:///PATH (sqlite:////absolute/path too). UserError for any other text, a missing file (OpenMode::existing), or
// a file that is not an Optuna storage.
std::unique_ptr<Storage> open_storage(const std::string& url, OpenMode mode);

// Now, UTC: YYYY-MM-DD HH:MM:SS.ffffff, as Optuna 5 writes datetimes.
std::string utc_now();

}  // namespace mpq
