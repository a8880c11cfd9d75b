#include "app/table.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"

namespace mpq {
namespace {

struct Column {
  size_t width = 0;
  bool numeric = true;
};

// Characters on the screen: UTF-8 continuation bytes take no place.
size_t display_width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xC0) != 0x80; }));
}

bool is_number(const std::string& cell) {
  return cell.empty() || cell == "-" || cell.find_first_not_of("0123456789.+-e% []<,") == std::string::npos;
}

std::vector<Column> measure(const Table& table) {
  std::vector<Column> columns(table.header.size());
  for (size_t c = 0; c < columns.size(); ++c) {
    columns[c].width = display_width(table.header[c]);
    for (const auto& row : table.rows) {
      columns[c].width = std::max(columns[c].width, display_width(row[c]));
      columns[c].numeric = columns[c].numeric && is_number(row[c]);
    }
  }
  return columns;
}

std::string pad(const std::string& cell, const Column& column) {
  const std::string space(column.width - display_width(cell), ' ');
  return column.numeric ? space + cell : cell + space;
}

std::string aligned(const std::vector<std::string>& row, const std::vector<Column>& columns, const std::string& left,
                    const std::string& between, const std::string& right) {
  std::string line = left;
  for (size_t c = 0; c < columns.size(); ++c) line += (c ? between : "") + pad(row[c], columns[c]);
  line += right;
  return line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

std::string tsv_line(const std::vector<std::string>& row) {
  std::string line;
  for (size_t c = 0; c < row.size(); ++c) {
    if (c) line += '\t';
    std::replace_copy_if(
        row[c].begin(), row[c].end(), std::back_inserter(line),
        [](char x) { return x == '\t' || x == '\n' || x == '\r'; }, ' ');
  }
  return line + "\n";
}

}  // namespace

void Table::add(std::vector<std::string> row) {
  check(row.size() == header.size(), "a row of {} cells in a table of {} columns", row.size(), header.size());
  rows.push_back(std::move(row));
}

std::string to_text(const Table& table) {
  const std::vector<Column> columns = measure(table);
  std::string text = aligned(table.header, columns, "", "  ", ""), rule;
  for (const Column& column : columns) rule += std::string(column.width, '-') + "  ";
  text += rule.substr(0, rule.size() - 2) + "\n";
  for (const auto& row : table.rows) text += aligned(row, columns, "", "  ", "");
  return text;
}

std::string to_markdown(const Table& table) {
  const std::vector<Column> columns = measure(table);
  std::string text = aligned(table.header, columns, "| ", " | ", " |");
  for (const Column& column : columns) text += column.numeric ? "|--:" : "|---";
  text += "|\n";
  for (const auto& row : table.rows) text += aligned(row, columns, "| ", " | ", " |");
  return text;
}

std::string to_tsv(const Table& table) {
  std::string text = tsv_line(table.header);
  for (const auto& row : table.rows) text += tsv_line(row);
  return text;
}

}  // namespace mpq
