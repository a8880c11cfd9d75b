#include "app/format_options.h"

#include <algorithm>

#include "base/error.h"
#include "base/nearest.h"

namespace mpq {
namespace {

size_t linear_named(const Bert& model, const std::string& name, const std::string& option) {
  std::vector<std::string> names;
  for (const Linear* linear : model.linears()) {
    if (linear->name == name) return static_cast<size_t>(linear->index);
    names.push_back(linear->name);
  }
  const std::string near = nearest(name, names);
  throw UserError(
      fmt::format("{}: the model has no Linear {}", option, name),
      near.empty() ? fmt::format("its Linears: {}", fmt::join(names, ", ")) : fmt::format("did you mean {}?", near));
}

LinearSpec parse_option(const std::string& option, const std::string& text) {
  try {
    return parse_linear_spec(text);
  } catch (const UserError& error) {
    throw UserError(fmt::format("{}: {}", option, error.what()), error.hint());
  }
}

}  // namespace

void FormatArgs::add_to(CommandLine& line) {
  line.option("format", format, "FORMAT", "number format of every Linear (mpq formats lists them); none: float");
  line.list("layer-format", layers, "NAME=FORMAT", "number format of one Linear, by its name; may be repeated");
}

std::vector<LinearSpec> FormatArgs::resolve(const Bert& model, std::vector<LinearSpec> specs) const {
  if (!format.empty()) std::fill(specs.begin(), specs.end(), parse_option("--format", format));
  for (const std::string& text : layers) {
    const std::string option = "--layer-format " + text;
    const size_t equals = text.find('=');
    if (equals == std::string::npos) throw UserError(option + ": no =", "write NAME=FORMAT, as in classifier=none");
    specs[linear_named(model, text.substr(0, equals), option)] = parse_option(option, text.substr(equals + 1));
  }
  return specs;
}

}  // namespace mpq
