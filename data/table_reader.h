// TSV (a row a line, no quoting) and CSV (RFC 4180: quotes, doubled quotes, line breaks inside quotes).
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "data/row.h"

namespace mpq {

// Which column holds what: a name from the header line, or a position from 1. Empty: found by itself, see below.
struct Columns {
  std::string text, label, group;
};

// The first line is a header if it holds the names asked for, or, where none is asked for, a usual name for the text
// (text, sentence, review, content) and one for the label (label, sentiment, class, category). Without a header and
// without columns asked for, two columns are label and text, three are label, id and text.
// UserError, with file and line: a row with another number of columns, a quote that never ends, an unknown column, a
// text that is blank or not UTF-8, an empty label, no rows.
std::vector<Row> read_table(const std::filesystem::path& path, const Columns& columns);

}  // namespace mpq
