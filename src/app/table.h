// A table of results: aligned text for people, TSV for programs, Markdown for the README.
#pragma once
#include <string>
#include <vector>

namespace mpq {

struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  // as many cells as the header

  void add(std::vector<std::string> row);  // check: the number of cells
};

// Columns that hold only numbers are aligned to the right. Every line ends with '\n'.
std::string to_text(const Table& table);
std::string to_markdown(const Table& table);
// Tabs and line breaks inside a cell become spaces.
std::string to_tsv(const Table& table);

}  // namespace mpq
