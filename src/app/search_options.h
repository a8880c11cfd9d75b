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
  bool embeddings = false;
  std::optional<double> max_bits;
  std::string budget = "linear";  // what max_bits is the average of: linear, model
  std::optional<int64_t> max_parameters;
  bool watch_test = false;
  int confirm = 0, replicas = 0, lanes = 0;
  // Of an architecture search.
  std::string layers = "2,4,8", heads = "2,4,8,16", hidden = "128,192,256,384,512", ffn = "512,768,1024,1536,2048";
  std::string identity = "auto", compress = "integer(width=8,frac=4)", prune_weights = "l1(sparsity=0.5)",
              prune_activations = "none";
  double post_epochs = 1;
};

}  // namespace mpq
