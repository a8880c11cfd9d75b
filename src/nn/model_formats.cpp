#include "nn/model_formats.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"

namespace mpq {

static bool is_linear(const Bert& model, int row) { return row < static_cast<int>(model.linears().size()); }

std::vector<std::string> format_names(const Bert& model) {
  std::vector<std::string> names;
  for (const Linear* linear : model.linears()) names.push_back(linear->name);
  for (const EmbeddingTable& table : model.tables()) names.push_back(table.name);
  return names;
}

LinearSpec parse_row_format(const Bert& model, int row, std::string_view text) {
  if (is_linear(model, row)) return parse_linear_spec(text);
  const OpenLinear spec = parse_open_row(model, row, text);
  if (spec.open()) throw UserError(fmt::format("{}: a scale `auto` is chosen by data", text), "write the number");
  return spec.closed();
}

OpenLinear parse_open_row(const Bert& model, int row, std::string_view text) {
  if (is_linear(model, row)) return parse_open_linear(text);
  const std::string& name = model.tables()[row - model.linears().size()].name;
  text = trim(text);
  if (text.find(';') != std::string_view::npos || text.starts_with("x="))
    throw UserError(fmt::format("{} is an embedding table, and \"{}\" is for a Linear", name, text),
                    "write one format, as integer(width=8,frac=6)");
  OpenLinear spec;
  spec.w = parse_open_format(text);
  if (trained_count(spec.w.spec) > 0)
    throw UserError(fmt::format("{} is an embedding table, and {} trains with a Linear's input", name, text),
                    "any format that trains nothing: mpq formats lists them");
  return spec;
}

std::string row_format_text(const Bert& model, int row, const LinearSpec& spec) {
  return is_linear(model, row) ? to_text(spec) : to_text(spec.w);
}

LinearSpec spec_of(const std::vector<LinearSpec>& formats, const EmbeddingTable& table) {
  const auto row = static_cast<size_t>(table.index);
  return row < formats.size() ? formats[row] : LinearSpec{};
}

}  // namespace mpq
