// How a format's tiles lie over a tensor, and what one tile's statistics may see.
#pragma once
#include <cstdint>

namespace mpq {

enum class Role : uint8_t { activation, weight, bias };
enum class Reach : uint8_t {
  element,
  row,
  sequence
};  // an element; tiles inside one row; tiles over rows, or the tensor

// A tensor as MASE sees it: [O], [N, I] or [B, S, I].
struct QuantShape {
  int rank = 0;
  int64_t d[3] = {1, 1, 1};
  int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= d[i];
    return n;
  }
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
  int64_t count() const;
};

// MASE's Block* formats: an activation's batch dimension (2-D: the rows) is never cut together. UserError for what MASE
// refuses: a 1-D activation, a 3-D weight.
Tiles block_tiles(const Block& block, Role role, const QuantShape& shape);
// MXIntHardware: over the last two dimensions, the same for every role; UserError if the tile does not divide them.
Tiles dividing_tiles(const Block& tile, const QuantShape& shape);
// row if no tile holds two rows of the tensor.
Reach block_reach(const Block& block, Role role);

}  // namespace mpq
