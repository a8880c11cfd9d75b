// Files: mapped for reading, written whole or not at all.
#pragma once
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace mpq {

// A read-only mapping of a whole file. UserError if it cannot be opened or is no regular file.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

std::string read_file(const std::filesystem::path& path);

// Writes to a temporary file beside `path`, syncs it, renames it over `path` and syncs the folder: after a crash either
// the old or the new content is there. UserError (with the system's reason) on a full or read-only disk.
void write_file_atomic(const std::filesystem::path& path, std::string_view content);
void write_file_atomic(const std::filesystem::path& path, std::span<const std::string_view> parts);

// A folder written whole: fill the returned temporary folder, then commit() exchanges it with `target`: at any moment,
// and after a crash, the name stands for the whole old folder or the whole new one (where the file system cannot
// exchange names, for none during an instant). Without commit() the destructor removes the temporary folder.
class AtomicFolder {
 public:
  explicit AtomicFolder(std::filesystem::path target);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;
  const std::filesystem::path& path() const { return temporary_; }
  void commit();
  // Several as nearly at once as may be: all are on the disk before the first takes its place.
  static void commit_all(std::span<const std::unique_ptr<AtomicFolder>> folders);

 private:
  void sync() const;
  void rename_over_target();
  std::filesystem::path target_, temporary_;
};

// Removes a folder that AtomicFolder writes, and the temporary ones beside it that a killed writer left. Nobody may be
// writing it. What cannot be removed stays: it costs room and nothing else.
void remove_atomic_folder(const std::filesystem::path& target);

// Creates the folder and its parents; UserError with the system's reason if that fails.
void make_folders(const std::filesystem::path& path);

// $XDG_CACHE_HOME/mpq or ~/.cache/mpq (created).
std::filesystem::path cache_folder();

}  // namespace mpq
