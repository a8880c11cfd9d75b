// How a format's tiles lie over a tensor, and what one tile's statistics may see.
#pragma once
#include <cstdint>

#include "base/hd.h"

namespace mpq {

enum class Role : uint8_t { activation, weight, bias };
enum class Reach : uint8_t {
  element,
  row,
  sequence
};  // an element; tiles inside one row; tiles over rows, or the tensor

// A tensor as MASE sees it: [O], [N, I] or [B, S, I]. No index is a variable: so a GPU has it in registers.
struct QuantShape {
  int rank = 0;
  int64_t d[3] = {1, 1, 1};
  HD int64_t size() const { return (rank > 0 ? d[0] : 1) * (rank > 1 ? d[1] : 1) * (rank > 2 ? d[2] : 1); }
  HD int64_t cols() const { return rank == 3 ? d[2] : rank == 2 ? d[1] : d[0]; }
};

// rows x cols of one tile; 0 = the whole dimension. A larger tile is clipped to the dimension.
struct Block {
  int32_t rows, cols;
  bool operator==(const Block&) const = default;
};

struct Tiles {
  int64_t batches, rows, cols;   // the tensor
  int64_t tile_rows, tile_cols;  // the last ones of a row or column may be smaller
  bool fold;                     // MASE reassembles with F.fold here, a sum into zeros: -0 becomes +0
  HD int64_t count() const {
    if (batches * rows * cols == 0) return 0;
    return batches * ((rows + tile_rows - 1) / tile_rows) * ((cols + tile_cols - 1) / tile_cols);
  }
};

// The tensor as [batches, rows, cols], cut into tiles of that size.
HD Tiles cut(const QuantShape& s, const Block& tile) {
  Tiles t{s.rank == 3 ? s.d[0] : 1, s.rank == 3 ? s.d[1] : s.rank == 2 ? s.d[0] : 1, s.cols()};
  t.tile_rows = tile.rows == 0 || tile.rows > t.rows ? t.rows : tile.rows;
  t.tile_cols = tile.cols == 0 || tile.cols > t.cols ? t.cols : tile.cols;
  return t;
}

// UserError for what the functions below refuse. On a device nobody checks: the host does, before work is enqueued.
void check_blocks(Role role, const QuantShape& shape);
void check_dividing(const Tiles& tiles, const QuantShape& shape);

// MASE's Block* formats: an activation's batch dimension (2-D: the rows) is never cut together. UserError for what MASE
// refuses: a 1-D activation, a 3-D weight.
HD Tiles block_tiles(const Block& block, Role role, const QuantShape& shape) {
#ifndef __CUDA_ARCH__
  check_blocks(role, shape);
#endif
  const bool activation = role == Role::activation, rows_apart = activation && shape.rank == 2;
  Tiles t = cut(shape, {rows_apart ? 1 : block.rows, block.cols});
  t.fold = shape.rank == 3 || (shape.rank == 2 && !activation);
  return t;
}
// MXIntHardware: over the last two dimensions, the same for every role; UserError if the tile does not divide them.
HD Tiles dividing_tiles(const Block& tile, const QuantShape& shape) {
  const Tiles t = cut(shape, tile);
#ifndef __CUDA_ARCH__
  check_dividing(t, shape);
#endif
  return t;
}
// Rows run along the last dimension, whatever the role. 0: a whole row; else blocks from each row's start, the last one
// of a row as long as what is left.
HD Tiles row_tiles(int32_t block, const QuantShape& shape) {
  Tiles t = cut({2, {1, shape.cols()}}, {1, block});
  t.rows = (shape.rank > 1 ? shape.d[0] : 1) * (shape.rank > 2 ? shape.d[1] : 1);
  return t;
}
// The value of a key per=: which values share a scale.
enum Per : int32_t { per_row = -1, per_tensor = 0 };         // else groups of so many columns
enum class PerKey : uint8_t { tensor_or_row, with_groups };  // what a format allows there
HD Tiles tiles_per(int32_t per, const QuantShape& shape) {
  Tiles t = row_tiles(per > 0 ? per : 0, shape);
  if (per == per_tensor) t.tile_rows = t.rows;
  return t;
}
// row if no tile holds two rows of the tensor.
HD Reach block_reach(const Block& block, Role role) {
  return role == Role::bias || block.rows == 1 ? Reach::row : Reach::sequence;
}

}  // namespace mpq
