#include "search/storage.h"

#include <fmt/chrono.h>

#include <chrono>

#include "base/error.h"
#include "base/text.h"
#include "search/sqlite_storage.h"

namespace mpq {

StudyRecord Storage::read_study(const std::string& name) {
  std::vector<std::string> names;
  for (StudyRecord& study : read_studies()) {
    if (study.name == name) return std::move(study);
    names.push_back(study.name);
  }
  throw UserError(fmt::format("no study named '{}' in this storage", name),
                  names.empty() ? "the storage has no study yet" : "its studies: " + join(names, ", "));
}

std::unique_ptr<Storage> open_storage(const std::string& url, OpenMode mode) {
  constexpr std::string_view sqlite = "sqlite:///";
  if (url.starts_with(sqlite) && url.size() > sqlite.size())
    return std::make_unique<SqliteStorage>(url.substr(sqlite.size()), mode);
  throw UserError(fmt::format("--storage '{}': not a storage mpq knows", url), "allowed: sqlite:///PATH");
}

std::string utc_now() {
  using namespace std::chrono;
  const auto now = system_clock::now().time_since_epoch();
  const auto us = duration_cast<microseconds>(now).count();
  return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:06}", fmt::gmtime(static_cast<std::time_t>(us / 1000000)), us % 1000000);
}

}  // namespace mpq
