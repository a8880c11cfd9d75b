// What an operation has to do at the very least: the rows that are there, every operand read once, every result written
// once. `mpq bench` holds the time it takes against that.
#pragma once
#include "tensor/device.h"

namespace mpq {

struct OpCost {
  double flops = 0;  // of matrix products; a gradient's product counts like the forward's
  double bytes = 0;  // read and written
};

// The device holds the number of rows, tokens and parameters that the operation will find.
OpCost cost_of(Device& device, std::span<const Linear1> problems);
OpCost cost_of(Device& device, std::span<const Linear1Grad> problems);
OpCost cost_of(Device& device, const Attention& op);
OpCost cost_of(Device& device, const AttentionGrad& op);
OpCost cost_of(Device& device, const ResidualNorm& op);
OpCost cost_of(Device& device, const ResidualNormGrad& op);
OpCost cost_of(Device& device, const Embed& op);
OpCost cost_of(Device& device, const EmbedGrad& op);
OpCost cost_of(Device& device, const QuantizeGrad& op);
OpCost cost_of(Device& device, const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged);
OpCost cost_of(Device& device, std::span<const Prune> ops);
OpCost cost_of(Device& device, std::span<const PruneGrad> ops);
OpCost cost_of(Device& device, const SelectFirstGrad& op);
OpCost cost_of(Device& device, const ClipNorm& op);
OpCost cost_of(Device& device, const AdamWRows& op);
OpCost cost_of(Device& device, const LoadBatch& op);
OpCost cost_of(Device& device, const ScatterRows& op);
OpCost cost_of(Device& device, const GatherRows& op);
OpCost cost_of(Device& device, const WideCrossEntropy& op, const Tensor& gradient);
OpCost cost_of(const SelectFirst& op);
OpCost cost_of(const CrossEntropy& op);
OpCost cost_of(const AdamW& op);
OpCost cost_of(const QuantizeWeights& op);
OpCost grad_cost_of(const QuantizeWeights& op);
OpCost cost_of(const PrepareBatches& op);
OpCost add_cost(const Tensor& from, const Tensor& to);
OpCost fill_cost(const Tensor& t);

}  // namespace mpq
