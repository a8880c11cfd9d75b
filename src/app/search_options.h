// What mpq search is asked to do.
#pragma once
#include <optional>
#include <string>

#include "app/options.h"

namespace mpq {

struct SearchOptions {
  DataArgs data;
  TrainArgs train;
  MachineArgs machine;
  std::string family = "all", mode = "all-layers", space, sampler = "tpe", select = "valid", storage, study = "search",
              out = "out/search";
  int64_t trials = 8, parallel = 1;
  std::optional<double> max_bits;
  int confirm = 0, replicas = 0;
};

}  // namespace mpq
