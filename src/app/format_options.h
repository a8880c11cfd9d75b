// --format and --layer-format: which number formats the Linears and embedding tables of a model get.
#pragma once
#include <string>
#include <vector>

#include "app/command_line.h"
#include "nn/bert.h"
#include "quant/fit.h"

namespace mpq {

struct FormatArgs {
  std::string format;               // of every Linear; empty: as `before`
  std::vector<std::string> layers;  // NAME=SPEC or PATTERN=SPEC, later ones win

  void add_to(CommandLine& line);
  // A format for every row (nn/model_formats.h), starting from `before`; scales may be open (quant/fit.h). UserError
  // for a bad spec, or a name or pattern of none.
  std::vector<OpenLinear> parse(const Bert& model, const std::vector<LinearSpec>& before) const;
  // The same for commands that have nothing to choose a scale by: UserError for `auto`.
  std::vector<LinearSpec> resolve(const Bert& model, const std::vector<LinearSpec>& before) const;
};

}  // namespace mpq
