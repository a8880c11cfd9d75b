// Many items as one launch: each has some neighbouring blocks of the grid.
#pragma once
#include <algorithm>
#include <climits>
#include <iterator>

#include "cuda/common.cuh"

namespace mpq {

// Of an item's shares, those of one block. To find out what a block is for takes it time, and most of the blocks of
// many replicas have nothing to do; with so few blocks a few replicas would leave the GPU idle.
constexpr int shares_of_a_block(int replicas) { return replicas < 8 ? 1 : 4; }

struct ItemBlocks {
  static constexpr int kItems = 32;
  int first_block[kItems + 1];  // beyond `count`: never reached
  int count = 0;

  ItemBlocks() {
    std::fill(std::begin(first_block), std::end(first_block), INT_MAX);
    first_block[0] = 0;
  }
  void add(int64_t blocks) {
    first_block[count + 1] = first_block[count] + static_cast<int>(blocks);
    ++count;
  }
  HD int blocks() const { return first_block[count]; }
  HD int blocks_of(int i) const { return first_block[i + 1] - first_block[i]; }
#ifdef __CUDACC__
  // The item that a block works for. The table lies in constant memory: as many loads at once as it has items.
  __device__ int find(int block) const {
    int i = -1;
#pragma unroll
    for (int k = 0; k < kItems; ++k) i += first_block[k] <= block;
    return i;
  }
#endif
};

}  // namespace mpq
