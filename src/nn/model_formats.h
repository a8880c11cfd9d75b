// The number formats of one model, as a list of one spec a row: its Linears, then its embedding tables (Bert::tables),
// whose format is the spec's w. A shorter list leaves tables in float.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "nn/bert.h"
#include "quant/fit.h"

namespace mpq {

std::vector<std::string> format_names(const Bert& model);  // of all rows

// The row's spec from its text: that of a LinearSpec, or a table's one format. UserError.
LinearSpec parse_row_format(const Bert& model, int row, std::string_view text);
OpenLinear parse_open_row(const Bert& model, int row, std::string_view text);
std::string row_format_text(const Bert& model, int row, const LinearSpec& spec);

LinearSpec spec_of(const std::vector<LinearSpec>& formats, const EmbeddingTable& table);

}  // namespace mpq
