// Weights and biases of a model as a table in a kernel's arguments: many tensors, one launch.
#pragma once
#include <algorithm>
#include <climits>
#include <span>

#include "cuda/cuda_ops.h"
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

struct WeightTable {
  static constexpr int kItems = 32;
  WeightItem items[kItems];
  int first_block[kItems + 1];  // beyond `count`: never reached
  int count;

  int blocks() const { return first_block[count]; }
  // The item that a block works for. The table lies in constant memory: as many loads at once as it has items.
  __device__ int find(int block) const {
    int i = -1;
#pragma unroll
    for (int k = 0; k < kItems; ++k) i += first_block[k] <= block;
    return i;
  }
  __device__ int blocks_of(int i) const { return first_block[i + 1] - first_block[i]; }
};
static_assert(sizeof(WeightTable) <= 32000, "kernel arguments take 32,764 bytes");

// enqueue(table) for all items, in as few tables as they fit; an item gets blocks_for(item) blocks.
template <class BlocksFor, class Enqueue>
void for_weight_tables(std::span<const QuantizeWeights::Item> items, BlocksFor blocks_for, Enqueue enqueue) {
  for (size_t first = 0; first < items.size(); first += WeightTable::kItems) {
    WeightTable table{};
    table.count = static_cast<int>(std::min<size_t>(WeightTable::kItems, items.size() - first));
    std::fill(std::begin(table.first_block), std::end(table.first_block), INT_MAX);
    table.first_block[0] = 0;
    for (int i = 0; i < table.count; ++i) {
      table.items[i] = WeightItem(items[first + i]);
      table.first_block[i + 1] = table.first_block[i] + static_cast<int>(blocks_for(table.items[i]));
    }
    enqueue(table);
  }
}

}  // namespace mpq
