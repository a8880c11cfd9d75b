// How the inputs of Linears are pruned: every Linear of every replica.
#pragma once
#include <initializer_list>
#include <vector>

#include "nn/pruning.h"

namespace mpq {

class PruneTable {
 public:
  // One pruning a replica.
  PruneTable(const Bert& model, const std::vector<Pruning>& prunings);

  // The table itself, [R][linears], empty where no activation is pruned; and where its copy in the device's memory is.
  const std::vector<PruneSpec>& table() const { return table_; }
  void place(const PruneSpec* specs) { specs_ = specs; }
  bool weights() const { return weights_; }        // whether any replica prunes weights
  bool over_batch() const { return over_batch_; }  // or has thresholds of a whole batch

  bool any() const { return weights_ || !table_.empty(); }
  // Whether any replica prunes the input of any of these.
  bool any(std::initializer_list<const Linear*> linears) const;
  PruneSlot slot(const Linear& linear) const;

 private:
  bool weights_ = false, over_batch_ = false;
  std::vector<bool> pruned_;  // by Linear::index
  std::vector<PruneSpec> table_;
  const PruneSpec* specs_ = nullptr;
};

}  // namespace mpq
