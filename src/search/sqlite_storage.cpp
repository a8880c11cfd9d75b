#include "search/sqlite_storage.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "search/sqlite_schema.h"

namespace mpq {
namespace {

using Kind = Transaction::Kind;

// How Optuna stores a double that SQL cannot: the number is NULL and its type says which.
std::string_view value_type(double value) {
  if (std::isnan(value)) return "NAN";
  if (std::isinf(value)) return value > 0 ? "INF_POS" : "INF_NEG";
  return "FINITE";
}

void bind_value(Statement& statement, double value) {
  if (std::isfinite(value))
    statement.bind(value);
  else
    statement.bind_null();
  statement.bind(value_type(value));
}

std::optional<double> parse_value(const Statement& row, int number, int type) {
  const std::string name = row.text(type);
  if (name == "FINITE") return row.real(number);
  if (name == "INF_POS") return HUGE_VAL;
  if (name == "INF_NEG") return -HUGE_VAL;
  if (name == "NAN") return NAN;
  return std::nullopt;
}

std::string text_or_empty(const Statement& row, int column) { return row.is_null(column) ? "" : row.text(column); }

// Rows of a table of trials' properties, for the trials of a study from a number on.
std::string rows_of(std::string_view columns, std::string_view table, std::string_view order) {
  return fmt::format(
      "SELECT t.number, {} FROM trials t JOIN {} p ON p.trial_id = t.trial_id "
      "WHERE t.study_id = ? AND t.number >= ? ORDER BY {}",
      columns, table, order);
}

}  // namespace

SqliteStorage::SqliteStorage(const std::filesystem::path& path, OpenMode mode)
    : database_(path, mode == OpenMode::create), leave_wal_(mode == OpenMode::create) {
  if (mode == OpenMode::create) create_tables_if_empty();
  check_version();
  if (mode == OpenMode::create) enter_wal();
}

// SQLite does not wait here for a process that is writing. Without WAL a commit takes longer, and nothing else changes.
void SqliteStorage::enter_wal() {
  try {
    set_journal_mode("WAL");
  } catch (const UserError&) {
  }
}

SqliteStorage::~SqliteStorage() {
  if (!leave_wal_) return;
  try {
    database_.do_not_wait();
    set_journal_mode("DELETE");
  } catch (const UserError&) {  // another process has the file open: the last one to close it does this
  }
}

void SqliteStorage::set_journal_mode(std::string_view mode) {
  Statement(database_, fmt::format("PRAGMA journal_mode = {}", mode)).run();
}

void SqliteStorage::create_tables_if_empty() {
  Transaction transaction(database_, Kind::write);
  Statement tables(database_, "SELECT count(*) FROM sqlite_master");
  tables.step();
  if (tables.integer(0) == 0) database_.execute(kOptunaSchema);
  tables.run();
  transaction.commit();
}

void SqliteStorage::check_version() {
  Statement table(database_, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'");
  table.step();
  if (table.integer(0) == 0) database_.fail_content("not an Optuna storage (it has no table alembic_version)");
  Statement version(database_, "SELECT version_num FROM alembic_version");
  const std::string found = version.step() ? version.text(0) : "none";
  if (found != kAlembicVersion && found != kAlembicVersion31)
    throw UserError(fmt::format("the storage has Optuna's schema revision {}", found),
                    fmt::format("mpq works with {} and {}; `optuna storage upgrade` brings an old one up to date",
                                kAlembicVersion, kAlembicVersion31));
}

std::vector<StudyRecord> SqliteStorage::read_studies() {
  Transaction transaction(database_, Kind::read);
  std::vector<StudyRecord> studies;
  Statement rows(database_, "SELECT study_id, study_name FROM studies ORDER BY study_id");
  while (rows.step()) studies.push_back({.id = rows.integer(0), .name = rows.text(1)});
  for (StudyRecord& study : studies) {
    Statement directions(database_, "SELECT direction FROM study_directions WHERE study_id = ? ORDER BY objective");
    directions.bind(study.id);
    while (directions.step()) {
      const auto direction = parse_direction(directions.text(0));
      if (!direction) database_.fail_content(fmt::format("study '{}' has an unknown direction", study.name));
      study.directions.push_back(*direction);
    }
    const auto read_attributes = [&](std::string_view table, Attributes& into) {
      Statement attrs(database_, fmt::format("SELECT \"key\", value_json FROM {} WHERE study_id = ?", table));
      attrs.bind(study.id);
      while (attrs.step()) into[attrs.text(0)] = attrs.text(1);
    };
    read_attributes("study_user_attributes", study.user_attrs);
    read_attributes("study_system_attributes", study.system_attrs);
  }
  return studies;
}

void SqliteStorage::create_study(const StudyRecord& study, const std::function<void()>& when_new) {
  Transaction transaction(database_, Kind::write);
  Statement insert(database_, "INSERT INTO studies(study_name) VALUES (?) ON CONFLICT(study_name) DO NOTHING");
  insert.bind(study.name).run();
  if (database_.changes() == 0) return;
  if (when_new) when_new();
  const int64_t id = database_.last_insert_id();
  Statement direction(database_, "INSERT INTO study_directions(direction, study_id, objective) VALUES (?, ?, ?)");
  for (size_t i = 0; i < study.directions.size(); ++i)
    direction.bind(to_text(study.directions[i])).bind(id).bind(static_cast<int64_t>(i)).run();
  write_attributes("study_user_attributes", "study_id", id, study.user_attrs);
  write_attributes("study_system_attributes", "study_id", id, study.system_attrs);
  transaction.commit();
}

void SqliteStorage::set_study_attr(int64_t study_id, AttributeKind kind, const std::string& key,
                                   const std::string& json) {
  Transaction transaction(database_, Kind::write);
  const char* table = kind == AttributeKind::user ? "study_user_attributes" : "study_system_attributes";
  write_attributes(table, "study_id", study_id, {{key, json}});
  transaction.commit();
}

std::vector<FrozenTrial> SqliteStorage::read_trials(int64_t study_id, int64_t first_number) {
  Transaction transaction(database_, Kind::read);
  Trials trials = read_trial_rows(study_id, first_number);
  if (trials.empty()) return trials;
  read_params(study_id, trials);
  read_values(study_id, trials);
  read_intermediate_values(study_id, trials);
  read_trial_attributes(study_id, trials, AttributeKind::user);
  read_trial_attributes(study_id, trials, AttributeKind::system);
  read_heartbeats(study_id, trials);
  for (FrozenTrial& trial : trials) trial.read_constraints();
  return trials;
}

SqliteStorage::Trials SqliteStorage::read_trial_rows(int64_t study_id, int64_t first_number) {
  Statement rows(database_,
                 "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials "
                 "WHERE study_id = ? AND number >= ? ORDER BY number");
  rows.bind(study_id).bind(first_number);
  Trials trials;
  while (rows.step()) {
    FrozenTrial trial;
    trial.id = rows.integer(0);
    trial.number = rows.integer(1);
    if (trial.number != first_number + static_cast<int64_t>(trials.size()))
      database_.fail_content(fmt::format("trial numbers are not contiguous at {}", trial.number));
    const auto state = parse_trial_state(rows.text(2));
    if (!state) database_.fail_content(fmt::format("trial {} has an unknown state", trial.number));
    trial.state = *state;
    trial.started = text_or_empty(rows, 3);
    trial.completed = text_or_empty(rows, 4);
    trials.push_back(std::move(trial));
  }
  return trials;
}

void SqliteStorage::read_params(int64_t study_id, Trials& trials) {
  const int64_t first = trials.front().number;
  Statement rows(database_,
                 rows_of("param_name, param_value, distribution_json", "trial_params", "p.trial_id, p.param_id"));
  rows.bind(study_id).bind(first);
  while (rows.step()) {
    FrozenTrial& trial = trials.at(static_cast<size_t>(rows.integer(0) - first));
    const std::string name = rows.text(1);
    const std::string where = fmt::format("trial {}, parameter '{}'", trial.number, name);
    trial.params.push_back({name, distribution(rows.text(3), where), rows.real(2)});
    if (!contains(*trial.params.back().distribution, trial.params.back().value))
      database_.fail_content(fmt::format("{}: value {} is outside its distribution", where, rows.real(2)));
  }
}

std::shared_ptr<const Distribution> SqliteStorage::distribution(const std::string& json, const std::string& where) {
  auto& known = distributions_[json];
  if (!known) known = std::make_shared<const Distribution>(distribution_from_json(json, where));
  return known;
}

void SqliteStorage::read_values(int64_t study_id, Trials& trials) {
  const int64_t first = trials.front().number;
  Statement rows(database_, rows_of("value, value_type", "trial_values", "p.trial_id, p.objective"));
  rows.bind(study_id).bind(first);
  while (rows.step()) {
    const auto value = parse_value(rows, 1, 2);
    if (!value || std::isnan(*value)) database_.fail_content(fmt::format("trial {}: no value", rows.integer(0)));
    trials.at(static_cast<size_t>(rows.integer(0) - first)).values.push_back(*value);
  }
  for (const FrozenTrial& trial : trials)
    if (trial.state == TrialState::complete && trial.values.empty())
      database_.fail_content(fmt::format("trial {} is COMPLETE without a value", trial.number));
}

void SqliteStorage::read_intermediate_values(int64_t study_id, Trials& trials) {
  const int64_t first = trials.front().number;
  Statement rows(database_, rows_of("step, intermediate_value, intermediate_value_type", "trial_intermediate_values",
                                    "p.trial_id, p.step"));
  rows.bind(study_id).bind(first);
  while (rows.step()) {
    const auto value = parse_value(rows, 2, 3);
    if (!value) database_.fail_content(fmt::format("trial {}: unknown type of value", rows.integer(0)));
    trials.at(static_cast<size_t>(rows.integer(0) - first)).intermediate_values[rows.integer(1)] = *value;
  }
}

void SqliteStorage::read_trial_attributes(int64_t study_id, Trials& trials, AttributeKind kind) {
  const int64_t first = trials.front().number;
  const char* table = kind == AttributeKind::user ? "trial_user_attributes" : "trial_system_attributes";
  Statement rows(database_, rows_of("\"key\", value_json", table, "p.trial_id"));
  rows.bind(study_id).bind(first);
  while (rows.step()) {
    FrozenTrial& trial = trials.at(static_cast<size_t>(rows.integer(0) - first));
    (kind == AttributeKind::user ? trial.user_attrs : trial.system_attrs)[rows.text(1)] = rows.text(2);
  }
}

void SqliteStorage::read_heartbeats(int64_t study_id, Trials& trials) {
  const int64_t first = trials.front().number;
  Statement rows(database_,
                 rows_of("(julianday('now') - julianday(heartbeat)) * 86400.0", "trial_heartbeats", "p.trial_id"));
  rows.bind(study_id).bind(first);
  while (rows.step())
    if (!rows.is_null(1)) trials.at(static_cast<size_t>(rows.integer(0) - first)).heartbeat_age = rows.real(1);
}

std::optional<FrozenTrial> SqliteStorage::create_trial(int64_t study_id, const Attributes& system_attrs,
                                                       int64_t limit) {
  FrozenTrial trial;
  trial.started = utc_now();
  trial.system_attrs = system_attrs;
  trial.heartbeat_age = 0;
  Transaction transaction(database_, Kind::write);
  Statement count(database_, "SELECT count(*) FROM trials WHERE study_id = ?");
  count.bind(study_id).step();
  trial.number = count.integer(0);
  if (trial.number >= limit) return std::nullopt;
  Statement insert(database_,
                   "INSERT INTO trials(number, study_id, state, datetime_start) VALUES (?, ?, 'RUNNING', ?)");
  insert.bind(trial.number).bind(study_id).bind(trial.started).run();
  trial.id = database_.last_insert_id();
  write_attributes("trial_system_attributes", "trial_id", trial.id, system_attrs);
  Statement beat(database_, "INSERT INTO trial_heartbeats(trial_id, heartbeat) VALUES (?, CURRENT_TIMESTAMP)");
  beat.bind(trial.id).run();
  transaction.commit();
  return trial;
}

bool SqliteStorage::is_running(int64_t trial_id) {
  Statement state(database_, "SELECT state FROM trials WHERE trial_id = ?");
  state.bind(trial_id);
  return state.step() && state.text(0) == "RUNNING";
}

bool SqliteStorage::exchange_system_attr(int64_t trial_id, const std::string& key, const std::string& from,
                                         const std::string& to) {
  Transaction transaction(database_, Kind::write);
  if (!is_running(trial_id)) return false;
  Statement update(database_,
                   "UPDATE trial_system_attributes SET value_json = ? "
                   "WHERE trial_id = ? AND \"key\" = ? AND value_json = ?");
  update.bind(to).bind(trial_id).bind(key).bind(from).run();
  const bool exchanged = database_.changes() == 1;
  transaction.commit();
  return exchanged;
}

bool SqliteStorage::save_trial(const FrozenTrial& trial) {
  Transaction transaction(database_, Kind::write);
  if (!is_running(trial.id)) return false;
  write_params(trial);
  write_values(trial);
  write_attributes("trial_user_attributes", "trial_id", trial.id, trial.user_attrs);
  write_attributes("trial_system_attributes", "trial_id", trial.id, trial.system_attrs);
  if (trial.finished()) {
    Statement update(database_, "UPDATE trials SET state = ?, datetime_complete = ? WHERE trial_id = ?");
    update.bind(to_text(trial.state)).bind(trial.completed).bind(trial.id).run();
  }
  transaction.commit();
  return true;
}

void SqliteStorage::write_params(const FrozenTrial& trial) {
  Statement insert(database_,
                   "INSERT INTO trial_params(trial_id, param_name, param_value, distribution_json) "
                   "VALUES (?, ?, ?, ?) ON CONFLICT(trial_id, param_name) DO NOTHING");
  for (const TrialParameter& p : trial.params)
    insert.bind(trial.id).bind(p.name).bind(p.value).bind(to_json(*p.distribution)).run();
}

void SqliteStorage::write_values(const FrozenTrial& trial) {
  Statement value(database_,
                  "INSERT INTO trial_values(trial_id, objective, value, value_type) VALUES (?, ?, ?, ?) "
                  "ON CONFLICT(trial_id, objective) DO UPDATE SET value = excluded.value, "
                  "value_type = excluded.value_type");
  for (size_t i = 0; i < trial.values.size(); ++i) {
    value.bind(trial.id).bind(static_cast<int64_t>(i));
    bind_value(value, trial.values[i]);
    value.run();
  }
  Statement step(database_,
                 "INSERT INTO trial_intermediate_values"
                 "(trial_id, step, intermediate_value, intermediate_value_type) VALUES (?, ?, ?, ?) "
                 "ON CONFLICT(trial_id, step) DO UPDATE SET intermediate_value = excluded.intermediate_value, "
                 "intermediate_value_type = excluded.intermediate_value_type");
  for (const auto& [at, v] : trial.intermediate_values) {
    step.bind(trial.id).bind(at);
    bind_value(step, v);
    step.run();
  }
}

void SqliteStorage::write_attributes(const char* table, const char* owner_column, int64_t owner,
                                     const Attributes& attributes) {
  Statement upsert(database_, fmt::format("INSERT INTO {0}({1}, \"key\", value_json) VALUES (?, ?, ?) "
                                          "ON CONFLICT({1}, \"key\") DO UPDATE SET value_json = excluded.value_json",
                                          table, owner_column));
  for (const auto& [key, json] : attributes) upsert.bind(owner).bind(key).bind(json).run();
}

void SqliteStorage::heartbeat(const std::vector<int64_t>& trial_ids) {
  Transaction transaction(database_, Kind::write);
  Statement upsert(database_,
                   "INSERT INTO trial_heartbeats(trial_id, heartbeat) VALUES (?, CURRENT_TIMESTAMP) "
                   "ON CONFLICT(trial_id) DO UPDATE SET heartbeat = excluded.heartbeat");
  for (const int64_t id : trial_ids) upsert.bind(id).run();
  transaction.commit();
}

}  // namespace mpq
