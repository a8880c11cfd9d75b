#include "data/text_reader.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "data/archive.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

bool is_text(const fs::path& path) {
  return fs::is_regular_file(path) && without_compression_suffix(path).extension() == ".txt";
}

// Appends the texts of one file.
class Texts {
 public:
  Texts(const fs::path& file, std::vector<Row>& rows) : file_(file), rows_(rows) {}

  void read() {
    const std::string content = read_decompressed(file_);
    const std::vector<std::string_view> lines = split(content, '\n');
    // The piece behind the last line break is no line.
    const auto end = lines.end() - (!lines.empty() && lines.back().empty() ? 1 : 0);
    const bool by_line = std::none_of(lines.begin(), end, [](std::string_view line) { return trim(line).empty(); });
    for (auto line = lines.begin(); line != end; ++line, ++number_) {
      if (by_line || trim(*line).empty()) finish();
      add(trim(*line));
    }
    finish();
  }

 private:
  void add(std::string_view line) {
    if (line.empty()) return;
    if (text_.empty()) first_ = number_;
    text_.append(text_.empty() ? "" : "\n").append(line);
  }
  void finish() {
    if (text_.empty()) return;
    const std::string place = fmt::format("line {}", first_);
    check_text(text_, fmt::format("{}, {}", file_.string(), place));
    rows_.push_back({.text = std::move(text_), .label = "", .group = "", .place = place});
    text_.clear();
  }

  const fs::path& file_;
  std::vector<Row>& rows_;
  std::string text_;
  int64_t number_ = 1, first_ = 1;
};

}  // namespace

std::vector<fs::path> text_files(const fs::path& path) {
  if (is_text(path)) return {path};
  std::vector<fs::path> files;
  if (fs::is_directory(path))
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (is_text(entry.path())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<Row> read_texts(const std::vector<fs::path>& files) {
  std::vector<Row> rows;
  for (const fs::path& file : files) Texts(file, rows).read();
  if (rows.empty()) throw UserError(fmt::format("{}: there is no text in it", files.front().string()));
  return rows;
}

}  // namespace mpq
