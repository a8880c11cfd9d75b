// Files that are kept to save time: where none can be kept (a read-only home), work goes on without.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace mpq {

// NAME in the cache folder; nothing, with a warning, if there is no such folder and none can be made.
std::optional<std::filesystem::path> cache_file(const std::string& name);

// Warns if it cannot be written; does nothing without a path.
void keep_in_cache(const std::optional<std::filesystem::path>& path, std::string_view content);

}  // namespace mpq
