// A pruner decides from the values reported so far whether a trial is worth going on with. Nothing prunes yet: trials
// of one epoch have no intermediate values. An implementation is one file here; StudyOptions chooses it by name.
#pragma once
#include "search/sampler.h"

namespace mpq {

class Pruner {
 public:
  virtual ~Pruner() = default;
  virtual bool should_prune(const History& history, const FrozenTrial& trial) = 0;
};

}  // namespace mpq
