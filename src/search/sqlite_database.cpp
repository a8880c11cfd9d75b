#include "search/sqlite_database.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"

namespace mpq {
namespace {
constexpr int kBusyTimeoutMs = 30000;
}

Database::Database(const std::filesystem::path& path, bool create) : name_(path.string()) {
  if (!create && !std::filesystem::exists(path))
    throw UserError(fmt::format("{}: no such file", name_),
                    "--storage sqlite:///PATH names an existing study database");
  const int flags = SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);
  if (sqlite3_open_v2(name_.c_str(), &handle_, flags, nullptr) != SQLITE_OK) {
    const std::string reason = handle_ ? sqlite3_errmsg(handle_) : "out of memory";
    sqlite3_close(handle_);
    throw UserError(fmt::format("{}: {}", name_, reason), "the folder must exist and be writable");
  }
  sqlite3_busy_timeout(handle_, kBusyTimeoutMs);
  execute("PRAGMA trusted_schema = OFF");  // a file from outside may carry triggers and views
}

Database::~Database() { sqlite3_close(handle_); }

void Database::execute(const char* sql) {
  if (sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
}

void Database::fail() const {
  const int code = sqlite3_errcode(handle_);
  std::string hint = "the file may be damaged, or belong to another program";
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
    hint = fmt::format("another process has held the database for more than {} s", kBusyTimeoutMs / 1000);
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) hint = "--storage needs an SQLite database with Optuna's tables";
  if (code == SQLITE_READONLY || code == SQLITE_FULL || code == SQLITE_IOERR || code == SQLITE_CANTOPEN)
    hint = "its folder must be writable and have space left";
  throw UserError(fmt::format("{}: {}", name_, sqlite3_errmsg(handle_)), hint);
}

void Database::fail_content(const std::string& what) const {
  throw UserError(fmt::format("{}: {}", name_, what),
                  "--storage needs a database written by mpq or by Optuna 3 to 5; this one is damaged or foreign");
}

Statement::Statement(Database& database, std::string_view sql) : database_(database) {
  const int code = sqlite3_prepare_v2(database.handle_, sql.data(), static_cast<int>(sql.size()), &handle_, nullptr);
  if (code != SQLITE_OK) database.fail();
}

Statement::~Statement() { sqlite3_finalize(handle_); }

Statement& Statement::bound(int code) {
  if (code != SQLITE_OK) database_.fail();
  return *this;
}
Statement& Statement::bind(int64_t value) { return bound(sqlite3_bind_int64(handle_, ++parameters_, value)); }
Statement& Statement::bind(double value) { return bound(sqlite3_bind_double(handle_, ++parameters_, value)); }
Statement& Statement::bind(std::string_view value) {
  return bound(sqlite3_bind_text64(handle_, ++parameters_, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}
Statement& Statement::bind_null() { return bound(sqlite3_bind_null(handle_, ++parameters_)); }

bool Statement::step() {
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) database_.fail();
  return false;
}

void Statement::run() {
  while (step()) {
  }
  sqlite3_reset(handle_);
  parameters_ = 0;
}

void Statement::check_type(int column, int type) const {
  if (sqlite3_column_type(handle_, column) != type)
    database_.fail_content(
        fmt::format("column {} has a value of the wrong type", sqlite3_column_name(handle_, column)));
}

bool Statement::is_null(int column) const { return sqlite3_column_type(handle_, column) == SQLITE_NULL; }

int64_t Statement::integer(int column) const {
  check_type(column, SQLITE_INTEGER);
  return sqlite3_column_int64(handle_, column);
}

double Statement::real(int column) const {
  if (sqlite3_column_type(handle_, column) == SQLITE_INTEGER) return static_cast<double>(integer(column));
  check_type(column, SQLITE_FLOAT);
  return sqlite3_column_double(handle_, column);
}

std::string Statement::text(int column) const {
  check_type(column, SQLITE_TEXT);
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  if (!data) database_.fail();
  std::string value(data, static_cast<size_t>(sqlite3_column_bytes(handle_, column)));
  if (find_invalid_utf8(value))
    database_.fail_content(fmt::format("column {} is not UTF-8", sqlite3_column_name(handle_, column)));
  return value;
}

Transaction::Transaction(Database& database, Kind kind) : database_(database) {
  database.execute(kind == Kind::write ? "BEGIN IMMEDIATE" : "BEGIN");
}

void Transaction::commit() {
  database_.execute("COMMIT");
  open_ = false;
}

Transaction::~Transaction() {
  if (!open_) return;
  try {
    database_.execute("ROLLBACK");
  } catch (const UserError&) {  // a failed statement may have rolled back already
  }
}

}  // namespace mpq
