#include "data/cache.h"

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace mpq {

std::optional<std::filesystem::path> cache_file(const std::string& name) {
  try {
    return cache_folder() / name;
  } catch (const UserError& error) {
    log().warn("no cache: {}", error.what());
    return std::nullopt;
  }
}

void keep_in_cache(const std::optional<std::filesystem::path>& path, std::string_view content) {
  if (!path) return;
  try {
    write_file_atomic(*path, content);
  } catch (const UserError& error) {
    log().warn("not kept in the cache: {}", error.what());
  }
}

}  // namespace mpq
