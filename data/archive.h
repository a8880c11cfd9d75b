// Files as they come: plain, compressed (.gz .xz .zst .bz2), or packed in a tar.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace mpq {

// The content of a file, decompressed if it is compressed. UserError if it is damaged or larger than 8 GiB.
std::string read_decompressed(const std::filesystem::path& path);

// Calls on_file(name, content) for each regular file of a tar (compressed or not) whose name wanted() accepts, in the
// archive's order. Nothing is written to disk. UserError if the archive is damaged, or if a name is absolute or
// climbs out with "..".
void for_each_archived_file(const std::filesystem::path& path, const std::function<bool(std::string_view name)>& wanted,
                            const std::function<void(const std::string& name, std::string content)>& on_file);

// "reviews.tsv.xz" -> "reviews.tsv": without the suffix of a compression.
std::filesystem::path without_compression_suffix(const std::filesystem::path& path);

}  // namespace mpq
