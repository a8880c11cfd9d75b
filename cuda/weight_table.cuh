// Weights and biases of a model as a table in a kernel's arguments: many tensors, one launch.
#pragma once
#include <algorithm>
#include <span>

#include "cuda/cuda_ops.h"
#include "cuda/item_blocks.cuh"
#include "quant/spec.h"

namespace mpq {

// A tensor for every replica, without the rest.
struct Replicas {
  float* data;
  int64_t stride;
  Replicas() = default;
  explicit Replicas(const Tensor& t) : data(t.f32()), stride(t.replica_stride) {}
  HD float* operator[](int replica) const { return data + replica * stride; }
};

// What the kernels read of QuantizeWeights::Item.
struct WeightItem {
  Replicas w, wq, dw, trained, dtrained;
  const QuantSpec *specs, *inputs;  // inputs: null where w has no gamma
  int64_t spec_stride, input_stride;
  QuantizeWeights::Rows only;
  int32_t rank, rows, cols;
  Role role;

  WeightItem() = default;
  explicit WeightItem(const QuantizeWeights::Item& item)
      : w(item.w),
        wq(item.wq),
        dw(item.dw),
        trained(item.input.trained),
        dtrained(item.dtrained),
        specs(item.slot.specs),
        inputs(item.input.specs),
        spec_stride(item.slot.stride),
        input_stride(item.input.stride),
        only(item.only),
        rank(item.w.shape.rank),
        rows(rank == 1 ? 1 : static_cast<int32_t>(item.w.shape[0])),
        cols(static_cast<int32_t>(item.w.shape[rank - 1])),
        role(item.role) {}

  HD QuantShape shape() const { return rank == 1 ? QuantShape{1, {cols, 1, 1}} : QuantShape{2, {rows, cols, 1}}; }
  HD const QuantSpec& spec(int replica) const { return specs[replica * spec_stride]; }
  // Of a replica whose input format trains it, else null.
  HD const float* gamma(int replica) const {
    return inputs && trained_count(inputs[replica * input_stride]) > 0 ? trained[replica] + 3 : nullptr;
  }
};

struct WeightTable : ItemBlocks {
  WeightItem items[kItems];
};
static_assert(sizeof(WeightTable) <= 32000, "kernel arguments take 32,764 bytes");

// enqueue(table) for all items, in as few tables as they fit; an item gets blocks_for(item) blocks.
template <class BlocksFor, class Enqueue>
void for_weight_tables(std::span<const QuantizeWeights::Item> items, BlocksFor blocks_for, Enqueue enqueue) {
  for (size_t first = 0; first < items.size(); first += WeightTable::kItems) {
    WeightTable table;
    for (const auto& item : items.subspan(first, std::min<size_t>(WeightTable::kItems, items.size() - first))) {
      table.items[table.count] = WeightItem(item);
      table.add(blocks_for(table.items[table.count]));
    }
    enqueue(table);
  }
}

}  // namespace mpq
