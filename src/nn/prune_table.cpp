#include "nn/prune_table.h"

#include <algorithm>

namespace mpq {

PruneTable::PruneTable(const Bert& model, const std::vector<Pruning>& prunings) : pruned_(model.linears().size()) {
  bool any = false;
  for (const Pruning& pruning : prunings) {
    weights_ |= bool(pruning.weights), any |= bool(pruning.activations);
    over_batch_ |= pruning.activations.over_batch();
  }
  if (!any) return;
  for (const Pruning& pruning : prunings)
    for (const Linear* linear : model.linears()) {
      table_.push_back(pruning.covers(*linear) ? pruning.activations : PruneSpec{});
      if (table_.back()) pruned_[linear->index] = true;
    }
}

bool PruneTable::any(std::initializer_list<const Linear*> linears) const {
  return std::any_of(linears.begin(), linears.end(),
                     [&](const Linear* linear) { return !linear->is_identity() && pruned_[linear->index]; });
}

PruneSlot PruneTable::slot(const Linear& linear) const {
  return {(specs_ ? specs_ : table_.data()) + linear.index, static_cast<int64_t>(pruned_.size())};
}

}  // namespace mpq
