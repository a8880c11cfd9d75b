#include "app/format_options.h"

#include <algorithm>

#include "app/name_pattern.h"
#include "base/error.h"

namespace mpq {
namespace {

OpenLinear parse_option(const std::string& option, const std::string& text) {
  try {
    return parse_open_linear(text);
  } catch (const UserError& error) {
    throw UserError(fmt::format("{}: {}", option, error.what()), error.hint());
  }
}

}  // namespace

void FormatArgs::add_to(CommandLine& line) {
  line.option("format", format, "FORMAT", "number format of every Linear (mpq formats lists them); none: float");
  line.list("layer-format", layers, "NAME=FORMAT",
            "number format of one Linear, or of those that a shell pattern names; may be repeated, later ones win");
}

std::vector<OpenLinear> FormatArgs::parse(const Bert& model, const std::vector<LinearSpec>& before) const {
  std::vector<OpenLinear> specs;
  for (const LinearSpec& spec : before) specs.push_back(known(spec));
  if (!format.empty()) std::fill(specs.begin(), specs.end(), parse_option("--format", format));
  std::vector<std::string> names;
  for (const Linear* linear : model.linears()) names.push_back(linear->name);
  for (const std::string& text : layers) {
    const std::string option = "--layer-format " + text;
    const size_t equals = text.find('=');
    if (equals == std::string::npos)
      throw UserError(option + ": no =", "write NAME=FORMAT, as in classifier=none or 'encoder.*.query=none'");
    const OpenLinear spec = parse_option(option, text.substr(equals + 1));
    for (size_t i : names_matching(text.substr(0, equals), names, option, "Linear")) specs[i] = spec;
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
