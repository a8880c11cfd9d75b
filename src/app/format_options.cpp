#include "app/format_options.h"

#include <algorithm>

#include "app/name_pattern.h"
#include "base/error.h"
#include "nn/model_formats.h"

namespace mpq {
namespace {

OpenLinear parse_option(const std::string& option, const Bert& model, int row, const std::string& text) {
  try {
    return parse_open_row(model, row, text);
  } catch (const UserError& error) {
    throw UserError(fmt::format("{}: {}", option, error.what()), error.hint());
  }
}

}  // namespace

void FormatArgs::add_to(CommandLine& line) {
  line.option("format", format, "FORMAT", "number format of every Linear (mpq formats lists them); none: float");
  line.list("layer-format", layers, "NAME=FORMAT",
            "number format of one Linear or embedding table (bert.embeddings.*), or of those that a shell pattern "
            "names; may be repeated, later ones win");
}

std::vector<OpenLinear> FormatArgs::parse(const Bert& model, const std::vector<LinearSpec>& before) const {
  std::vector<OpenLinear> specs;
  for (const LinearSpec& spec : before) specs.push_back(known(spec));
  specs.resize(std::max(specs.size(), model.linears().size()));
  if (!format.empty()) std::fill_n(specs.begin(), model.linears().size(), parse_option("--format", model, 0, format));
  const std::vector<std::string> names = format_names(model);
  for (const std::string& text : layers) {
    const std::string option = "--layer-format " + text;
    const size_t equals = text.find('=');
    if (equals == std::string::npos)
      throw UserError(option + ": no =", "write NAME=FORMAT, as in classifier=none or 'encoder.*.query=none'");
    for (size_t i : names_matching(text.substr(0, equals), names, option, "layer")) {
      if (i >= specs.size()) specs.resize(names.size());
      specs[i] = parse_option(option, model, static_cast<int>(i), text.substr(equals + 1));
    }
  }
  return specs;
}

std::vector<LinearSpec> FormatArgs::resolve(const Bert& model, const std::vector<LinearSpec>& before) const {
  std::vector<LinearSpec> specs;
  for (const OpenLinear& linear : parse(model, before)) {
    if (linear.open())
      throw UserError("a scale `auto` is chosen by data, and there are none here",
                      "write the number; mpq train, eval, sweep and quantize choose one");
    specs.push_back(linear.closed());
  }
  return specs;
}

}  // namespace mpq
