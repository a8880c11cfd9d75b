#include "app/freeze_options.h"

#include <algorithm>

#include "app/name_pattern.h"
#include "base/error.h"

namespace mpq {

void FreezeArgs::add_to(CommandLine& line) {
  line.list("freeze", patterns, "PATTERN",
            "these parameters are not trained: a name, or a shell pattern such as 'embeddings*'; may be repeated");
}

std::vector<std::string> FreezeArgs::apply(Bert& model) const {
  const auto& parameters = model.parameters().all();
  std::vector<std::string> names, frozen;
  for (const Parameter& p : parameters) names.push_back(p.name);
  for (const std::string& pattern : patterns) {
    names_matching(pattern, names, "--freeze", "parameter");
    model.freeze(pattern);
  }
  for (const Parameter& p : parameters)
    if (p.frozen) frozen.push_back(p.name);
  const auto trained = [](const Parameter& p) { return !p.frozen && !is_extra(p); };
  if (std::none_of(parameters.begin(), parameters.end(), trained))
    throw UserError("--freeze leaves nothing to train", "mpq eval evaluates a model as it is");
  return frozen;
}

}  // namespace mpq
