// --format and --layer-format: which number formats the Linears and embedding tables of a model get.
#pragma once
#include <string>
#include <vector>

#include "app/command_line.h"
#include "nn/bert.h"

namespace mpq {

struct FormatArgs {
  std::string format;               // of every Linear; empty: as `before`
  std::vector<std::string> layers;  // NAME=SPEC or PATTERN=SPEC, later ones win

  void add_to(CommandLine& line);
  // For every row (nn/model_formats.h), starting from `before`. UserError for a bad spec, or a name or pattern of none.
  std::vector<LinearSpec> resolve(const Bert& model, std::vector<LinearSpec> before) const;
};

}  // namespace mpq
