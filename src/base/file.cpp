#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void fail_io(const char* verb, const fs::path& path) {
  const int reason = errno;
  throw UserError(fmt::format("cannot {} {}: {}", verb, path.string(), std::strerror(reason)));
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

fs::path parent_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

void sync_folder(const fs::path& folder) {
  Descriptor d{::open(folder.c_str(), O_RDONLY | O_DIRECTORY)};
  if (d.fd < 0 || ::fsync(d.fd) != 0) fail_io("sync", folder);
}

void write_all(int fd, std::string_view content, const fs::path& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_io("write", path);
    content.remove_prefix(static_cast<size_t>(n));
  }
}

}  // namespace

MappedFile::MappedFile(const fs::path& path) {
  Descriptor d{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (d.fd < 0) fail_io("open", path);
  struct stat info;
  if (::fstat(d.fd, &info) != 0) fail_io("read", path);
  if (!S_ISREG(info.st_mode)) throw UserError(fmt::format("cannot read {}: not a regular file", path.string()));
  size_ = static_cast<size_t>(info.st_size);
  if (size_ == 0) return;
  void* p = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, d.fd, 0);
  if (p == MAP_FAILED) fail_io("map", path);
  data_ = static_cast<const std::byte*>(p);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

std::string read_file(const fs::path& path) {
  MappedFile file(path);
  return std::string(file.text());
}

void write_file_atomic(const fs::path& path, std::span<const std::string_view> parts) {
  if (path.has_parent_path()) make_folders(path.parent_path());
  std::string temporary = path.string() + ".tmp-XXXXXX";
  Descriptor d{::mkstemp(temporary.data())};
  if (d.fd < 0) fail_io("write", path);
  try {
    for (const std::string_view part : parts) write_all(d.fd, part, path);
    if (::fchmod(d.fd, 0644) != 0 || ::fsync(d.fd) != 0) fail_io("write", path);
    if (::rename(temporary.c_str(), path.c_str()) != 0) fail_io("write", path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_folder(parent_of(path));
}

void write_file_atomic(const fs::path& path, std::string_view content) {
  write_file_atomic(path, std::span(&content, 1));
}

AtomicFolder::AtomicFolder(fs::path target) : target_(std::move(target)) {
  if (target_.filename().empty()) target_ = target_.parent_path();
  if (target_.has_parent_path()) make_folders(target_.parent_path());
  std::string name = target_.string() + ".tmp-XXXXXX";
  if (!::mkdtemp(name.data())) fail_io("write", target_);
  ::chmod(name.c_str(), 0755);
  temporary_ = name;
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

void AtomicFolder::sync() const {
  for (const auto& entry : fs::recursive_directory_iterator(temporary_)) {
    if (!entry.is_regular_file()) continue;
    Descriptor d{::open(entry.path().c_str(), O_RDONLY)};
    if (d.fd < 0 || ::fsync(d.fd) != 0) fail_io("sync", entry.path());
  }
  sync_folder(temporary_);
}

void AtomicFolder::commit() {
  sync();
  // Both names change hands at once; the destructor then removes the old folder.
  if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) != 0) rename_over_target();
  sync_folder(parent_of(target_));
}

void AtomicFolder::commit_all(std::span<const std::unique_ptr<AtomicFolder>> folders) {
  for (const auto& folder : folders) folder->sync();
  for (const auto& folder : folders) folder->commit();
}

// For a target that is not there yet, and for file systems that cannot exchange names.
void AtomicFolder::rename_over_target() {
  const fs::path old = target_.string() + ".old";
  std::error_code ignored;
  fs::remove_all(old, ignored);
  const bool replaces = fs::exists(target_);
  if (replaces && ::rename(target_.c_str(), old.c_str()) != 0) fail_io("replace", target_);
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const int reason = errno;
    if (replaces) ::rename(old.c_str(), target_.c_str());
    errno = reason;
    fail_io("write", target_);
  }
  temporary_.clear();
  fs::remove_all(old, ignored);
}

void remove_atomic_folder(const fs::path& target) {
  std::error_code ignored;
  fs::remove_all(target, ignored);
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(parent_of(target), ignored))
    if (entry.path().filename().string().starts_with(target.filename().string() + ".tmp-"))
      left.push_back(entry.path());
  for (const fs::path& path : left) fs::remove_all(path, ignored);
}

void make_folders(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw UserError(fmt::format("cannot create the folder {}: {}", path.string(), error.message()));
}

fs::path cache_folder() {
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  fs::path base = xdg && *xdg ? fs::path(xdg) : fs::path(home && *home ? home : "/tmp") / ".cache";
  make_folders(base / "mpq");
  return base / "mpq";
}

}  // namespace mpq
