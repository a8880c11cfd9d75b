#include "train/soft_labels.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace mpq {
namespace {

constexpr size_t kFirstClass = 2;  // column

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw UserError(fmt::format("{}: {}", where, what),
                  "a table that mpq baseline --out wrote: split, text, a probability for each class");
}

uint64_t parse_hash(std::string_view text, const std::string& where) {
  uint64_t hash = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), hash, 16);
  if (text.size() != 16 || error != std::errc() || end != text.data() + text.size())
    fail(where, fmt::format("{} is no text's hash", text));
  return hash;
}

SoftLabels::Row parse_row(const std::vector<std::string_view>& cells, const std::string& where) {
  SoftLabels::Row row{std::string(cells[0]), parse_hash(cells[1], where), {}};
  double sum = 0;
  for (size_t i = kFirstClass; i < cells.size(); ++i) {
    const double p = parse_double(cells[i]).value_or(-1);
    if (!(p >= 0 && p <= 1)) fail(where, fmt::format("{} is no probability", cells[i]));
    row.p.push_back(static_cast<float>(p));
    sum += p;
  }
  if (std::abs(sum - 1) > 1e-3) fail(where, fmt::format("the probabilities sum to {}", sum));
  return row;
}

}  // namespace

std::unordered_map<uint64_t, size_t> SoftLabels::first_row_of_text() const {
  std::unordered_map<uint64_t, size_t> first;
  first.reserve(rows.size());
  for (size_t r = 0; r < rows.size(); ++r) first.emplace(rows[r].text, r);
  return first;
}

void write_soft_labels(const std::filesystem::path& path, const SoftLabels& labels) {
  std::string text = "split\ttext\t" + join(labels.label_names, "\t") + "\n";
  for (const SoftLabels::Row& row : labels.rows)
    fmt::format_to(std::back_inserter(text), "{}\t{:016x}\t{:.6f}\n", row.split, row.text, fmt::join(row.p, "\t"));
  write_file_atomic(path, text);
}

SoftLabels read_soft_labels(const std::filesystem::path& path) {
  const MappedFile file(path);
  SoftLabels labels;
  int64_t number = 0;
  for (std::string_view line : split(file.text(), '\n')) {
    const std::string where = fmt::format("{}, line {}", path.string(), ++number);
    if (line.empty()) continue;
    const std::vector<std::string_view> cells = split(line, '\t');
    if (number == 1) {
      if (cells.size() < kFirstClass + 2 || cells[0] != "split" || cells[1] != "text") fail(where, "no such header");
      labels.label_names.assign(cells.begin() + kFirstClass, cells.end());
      continue;
    }
    if (cells.size() != kFirstClass + labels.label_names.size() || number == 1)
      fail(where, fmt::format("{} cells instead of {}", cells.size(), kFirstClass + labels.label_names.size()));
    labels.rows.push_back(parse_row(cells, where));
  }
  if (labels.rows.empty()) fail(path.string(), "no rows");
  return labels;
}

}  // namespace mpq
