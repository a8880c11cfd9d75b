#include "data/table_reader.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "data/archive.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

using Fields = std::vector<std::string>;

// Cuts a table's text into records, one at a time, counting lines.
class Records {
 public:
  Records(const fs::path& path, std::string_view text, bool csv) : path_(path), text_(text), csv_(csv) {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);  // a byte order mark
  }

  // Skips empty lines. False at the end.
  bool next(Fields& fields) {
    while (at_ < text_.size()) {
      line_ = next_line_;
      fields.clear();
      csv_ ? read_csv(fields) : read_tsv(fields);
      if (fields.size() > 1 || !fields[0].empty()) return true;
    }
    return false;
  }
  int64_t line() const { return line_; }
  std::string where() const { return fmt::format("{}, line {}", path_.string(), line_); }

 private:
  void read_tsv(Fields& fields) {
    const size_t end = std::min(text_.find('\n', at_), text_.size());
    std::string_view line = text_.substr(at_, end - at_);
    if (line.ends_with('\r')) line.remove_suffix(1);
    for (std::string_view field : split(line, '\t')) fields.emplace_back(field);
    at_ = end + 1;
    ++next_line_;
  }

  void read_csv(Fields& fields) {
    for (;;) {
      fields.push_back(at_ < text_.size() && text_[at_] == '"' ? quoted_field() : plain_field());
      if (at_ >= text_.size()) return;
      if (text_[at_++] == ',') continue;
      ++next_line_;
      return;
    }
  }

  // Both leave at_ on the comma or the newline that ends the field, or at the end of the text.
  std::string plain_field() {
    const size_t end = std::min(text_.find_first_of(",\n", at_), text_.size());
    std::string_view field = text_.substr(at_, end - at_);
    if (end < text_.size() && text_[end] == '\n' && field.ends_with('\r')) field.remove_suffix(1);
    if (field.find('"') != std::string_view::npos)
      throw UserError(fmt::format("{}: a quote inside an unquoted field", where()),
                      "quote the whole field and double the quotes inside it");
    at_ = end;
    return std::string(field);
  }

  std::string quoted_field() {
    std::string field;
    for (++at_;; ++at_) {
      if (at_ >= text_.size())
        throw UserError(fmt::format("{}: the quote that opens here never ends", where()), "a closing quote");
      if (text_[at_] == '\n') ++next_line_;
      if (text_[at_] != '"') {
        field += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        field += text_[at_++];
      } else {
        break;
      }
    }
    ++at_;
    if (text_.substr(at_).starts_with("\r\n")) ++at_;
    if (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n')
      throw UserError(fmt::format("{}: text behind a closing quote", where()), "a comma or the end of the line");
    return field;
  }

  fs::path path_;
  std::string_view text_;
  bool csv_;
  size_t at_ = 0;
  int64_t line_ = 0, next_line_ = 1;
};

std::optional<size_t> find_name(const Fields& header, const std::vector<std::string>& names) {
  for (size_t i = 0; i < header.size(); ++i) {
    std::string name(trim(header[i]));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    if (std::find(names.begin(), names.end(), name) != names.end()) return i;
  }
  return std::nullopt;
}

// Where the columns are, and whether the first record is a header.
struct Layout {
  size_t width = 0, text = 0, label = 0;
  std::optional<size_t> group;
  bool has_header = false;
};

class LayoutFinder {
 public:
  LayoutFinder(const Fields& first, const Columns& columns, std::string where)
      : first_(first), columns_(columns), where_(std::move(where)) {}

  Layout find() {
    const auto usual_text = find_name(first_, {"text", "sentence", "review", "content"});
    const auto usual_label = find_name(first_, {"label", "sentiment", "class", "category"});
    Layout layout{.width = first_.size()};
    layout.has_header = (usual_text && usual_label) || names_a_column(columns_.text) ||
                        names_a_column(columns_.label) || names_a_column(columns_.group);
    layout.text = place(columns_.text, "text", layout.has_header ? usual_text : first_.size() - 1);
    layout.label = place(columns_.label, "label", layout.has_header ? usual_label : 0);
    if (!columns_.group.empty()) layout.group = place(columns_.group, "group", std::nullopt);
    if (layout.text == layout.label)
      throw UserError(fmt::format("{}: column {} cannot be both text and label", where_, layout.text + 1), choice());
    return layout;
  }

 private:
  static bool names_a_column(const std::string& column) { return !column.empty() && !parse_int(column); }

  size_t place(const std::string& column, const char* what, std::optional<size_t> otherwise) const {
    if (column.empty()) return otherwise ? check_guess(*otherwise) : fail(fmt::format("no column for the {}", what));
    if (const auto position = parse_int(column)) {
      if (*position >= 1 && *position <= static_cast<int64_t>(first_.size())) return static_cast<size_t>(*position) - 1;
      fail(fmt::format("there is no column {} for the {}", column, what));
    }
    for (size_t i = 0; i < first_.size(); ++i)
      if (trim(first_[i]) == column) return i;
    fail(fmt::format("there is no column \"{}\" for the {}", column, what));
  }

  // Headerless tables are understood with two columns (label, text) or three (label, id, text).
  size_t check_guess(size_t guess) const {
    const bool some_given = !columns_.text.empty() || !columns_.label.empty();
    if (first_.size() < 2 ||
        (first_.size() > 3 && !some_given && !find_name(first_, {"label", "sentiment", "class", "category"})))
      fail(fmt::format("{} columns and no header", first_.size()));
    return guess;
  }

  [[noreturn]] size_t fail(const std::string& what) const {
    throw UserError(fmt::format("{}: {}", where_, what), choice());
  }
  std::string choice() const {
    return fmt::format("--text-column, --label-column and --group-column take a position from 1 to {}, or one of: {}",
                       first_.size(), join(first_, ", "));
  }

  const Fields& first_;
  const Columns& columns_;
  std::string where_;
};

Row make_row(Fields& fields, const Layout& layout, const Records& records) {
  if (fields.size() != layout.width)
    throw UserError(fmt::format("{}: {} columns instead of {}", records.where(), fields.size(), layout.width),
                    "every row has as many columns as the first");
  Row row{std::move(fields[layout.text]), std::string(trim(fields[layout.label])),
          layout.group ? std::move(fields[*layout.group]) : std::string(), fmt::format("line {}", records.line())};
  check_text(row.text, records.where());
  if (row.label.empty())
    throw UserError(fmt::format("{}: the label is empty", records.where()), "every row needs a label");
  if (row.label.find('\n') != std::string::npos)
    throw UserError(fmt::format("{}: the label spans lines", records.where()), "a label is a name or a number");
  if (find_invalid_utf8(row.label)) throw UserError(fmt::format("{}: the label is not UTF-8", records.where()));
  return row;
}

}  // namespace

std::vector<Row> read_table(const fs::path& path, const Columns& columns) {
  const std::string text = read_decompressed(path);
  Records records(path, text, without_compression_suffix(path).extension() == ".csv");
  std::vector<Row> rows;
  Fields fields;
  if (records.next(fields)) {
    const Layout layout = LayoutFinder(fields, columns, records.where()).find();
    if (!layout.has_header) rows.push_back(make_row(fields, layout, records));
    while (records.next(fields)) rows.push_back(make_row(fields, layout, records));
  }
  if (rows.empty())
    throw UserError(fmt::format("{} holds no rows", path.string()), "at least one row with label and text");
  return rows;
}

}  // namespace mpq
