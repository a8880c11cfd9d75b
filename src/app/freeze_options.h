// --freeze: which parameters of a model stay as they are.
#pragma once
#include <string>
#include <vector>

#include "app/command_line.h"
#include "nn/bert.h"

namespace mpq {

struct FreezeArgs {
  std::vector<std::string> patterns;

  void add_to(CommandLine& line);
  // Freezes them and returns their names, in the model's order. UserError for a pattern that matches nothing, and if
  // nothing would be left to train.
  std::vector<std::string> apply(Bert& model) const;
};

}  // namespace mpq
