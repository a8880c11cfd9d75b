// SQLite in C++: a connection, a statement, a transaction. Every failure is a UserError that names the file.
#pragma once
#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace mpq {

class Database {
 public:
  // Every call waits up to 30 s for another process's lock, until do_not_wait().
  Database(const std::filesystem::path& path, bool create);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void do_not_wait() { sqlite3_busy_timeout(handle_, 0); }
  void execute(const char* sql);  // one or more statements without result
  int64_t last_insert_id() const { return sqlite3_last_insert_rowid(handle_); }
  int64_t changes() const { return sqlite3_changes(handle_); }
  [[noreturn]] void fail() const;                                 // the connection's last error
  [[noreturn]] void fail_content(const std::string& what) const;  // what the file holds cannot be an Optuna storage

 private:
  friend class Statement;
  std::string name_;
  sqlite3* handle_ = nullptr;
};

// bind parameters from left to right, then step row by row, or run once. Columns count from 0 and are strict: a column
// of another type is a UserError.
class Statement {
 public:
  Statement(Database& database, std::string_view sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int64_t value);
  Statement& bind(double value);
  Statement& bind(std::string_view value);
  Statement& bind_null();

  bool step();  // true: a row is there
  void run();   // to its end; the statement can be bound again

  bool is_null(int column) const;
  int64_t integer(int column) const;
  double real(int column) const;       // an integer column too
  std::string text(int column) const;  // valid UTF-8

 private:
  Statement& bound(int code);
  void check_type(int column, int type) const;

  Database& database_;
  sqlite3_stmt* handle_ = nullptr;
  int parameters_ = 0;  // bound so far
};

// Rolls back unless committed. Writers begin IMMEDIATE: a read transaction is never upgraded, which could deadlock.
class Transaction {
 public:
  enum class Kind { read, write };
  Transaction(Database& database, Kind kind);
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit();

 private:
  Database& database_;
  bool open_ = true;
};

}  // namespace mpq
