#include "data/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <memory>

#include "base/error.h"
#include "base/file.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxBytes = uint64_t{8} << 30;  // what a small file may decompress to

class Reader {
 public:
  enum class Kind { Raw, Tar };

  Reader(const fs::path& path, Kind kind) : path_(path), file_(path), archive_(archive_read_new()) {
    archive_read_support_filter_all(archive_.get());
    if (kind == Kind::Raw) {
      archive_read_support_format_raw(archive_.get());
      archive_read_support_format_empty(archive_.get());
    } else {
      archive_read_support_format_tar(archive_.get());
    }
    const auto bytes = file_.bytes();
    if (archive_read_open_memory(archive_.get(), bytes.data(), bytes.size()) != ARCHIVE_OK) fail();
  }

  bool next() {
    const int code = archive_read_next_header(archive_.get(), &entry_);
    if (code == ARCHIVE_EOF) return false;
    if (code != ARCHIVE_OK) fail();
    return true;
  }
  bool is_file() const { return archive_entry_filetype(entry_) == AE_IFREG; }
  std::string name() const {
    const char* name = archive_entry_pathname(entry_);
    return name ? name : "";
  }

  std::string content() {
    std::string out;
    for (char chunk[1 << 16];;) {
      const auto n = archive_read_data(archive_.get(), chunk, sizeof chunk);
      if (n < 0) fail();
      if (n == 0) return out;
      out.append(chunk, static_cast<size_t>(n));
      if ((total_ += static_cast<uint64_t>(n)) > kMaxBytes)
        throw UserError(fmt::format("{} holds more than 8 GiB", path_.string()), "at most 8 GiB of text");
    }
  }

 private:
  [[noreturn]] void fail() {
    const char* reason = archive_error_string(archive_.get());
    throw UserError(fmt::format("{} is damaged: {}", path_.string(), reason ? reason : "unknown reason"),
                    "fetch or pack it again");
  }

  struct Free {
    void operator()(archive* a) const { archive_read_free(a); }
  };
  fs::path path_;
  MappedFile file_;
  std::unique_ptr<archive, Free> archive_;
  archive_entry* entry_ = nullptr;
  uint64_t total_ = 0;
};

void check_name(const fs::path& archive, const fs::path& name) {
  bool climbs = name.is_absolute();
  for (const fs::path& part : name) climbs |= part == "..";
  if (climbs)
    throw UserError(fmt::format("{} holds the path {}, which leaves the archive", archive.string(), name.string()),
                    "relative paths without ..");
}

}  // namespace

std::string read_decompressed(const fs::path& path) {
  Reader reader(path, Reader::Kind::Raw);
  return reader.next() ? reader.content() : std::string();
}

void for_each_archived_file(const fs::path& path, const std::function<bool(std::string_view)>& wanted,
                            const std::function<void(const std::string&, std::string)>& on_file) {
  for (Reader reader(path, Reader::Kind::Tar); reader.next();) {
    const std::string name = reader.name();
    check_name(path, name);
    if (reader.is_file() && wanted(name)) on_file(name, reader.content());
  }
}

fs::path without_compression_suffix(const fs::path& path) {
  for (const char* suffix : {".gz", ".xz", ".zst", ".bz2"})
    if (path.extension() == suffix) return fs::path(path).replace_extension();
  return path;
}

}  // namespace mpq
