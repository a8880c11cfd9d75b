#include "quant/tiles.h"

#include <algorithm>

#include "base/error.h"

namespace mpq {

static int64_t clip(int64_t tile, int64_t dimension) { return tile == 0 ? dimension : std::min(tile, dimension); }

// The tensor as [batches, rows, cols].
static Tiles whole(const QuantShape& s) {
  check(s.rank >= 1 && s.rank <= 3, "a tensor to quantize has 1 to 3 dimensions, not {}", s.rank);
  Tiles t{.batches = 1, .rows = 1, .cols = s.d[s.rank - 1]};
  if (s.rank >= 2) t.rows = s.d[s.rank - 2];
  if (s.rank == 3) t.batches = s.d[0];
  return t;
}

int64_t Tiles::count() const {
  if (batches * rows * cols == 0) return 0;
  return batches * ((rows + tile_rows - 1) / tile_rows) * ((cols + tile_cols - 1) / tile_cols);
}

Tiles block_tiles(const Block& block, Role role, const QuantShape& shape) {
  const bool activation = role == Role::activation;
  if (activation && shape.rank == 1)
    throw UserError("a 1-D activation cannot be cut into blocks", "activations are 2-D or 3-D; a 1-D tensor is a bias");
  if (!activation && shape.rank == 3)
    throw UserError("a 3-D weight cannot be cut into blocks", "weights are 2-D, biases 1-D, activations 2-D or 3-D");
  Tiles t = whole(shape);
  t.tile_rows = activation && shape.rank == 2 ? 1 : clip(block.rows, t.rows);
  t.tile_cols = clip(block.cols, t.cols);
  t.fold = shape.rank == 3 || (shape.rank == 2 && !activation);
  return t;
}

Tiles dividing_tiles(const Block& tile, const QuantShape& shape) {
  Tiles t = whole(shape);
  t.tile_rows = clip(tile.rows, t.rows);
  t.tile_cols = clip(tile.cols, t.cols);
  if (t.count() > 0 && (t.rows % t.tile_rows != 0 || t.cols % t.tile_cols != 0))
    throw UserError(
        fmt::format("tile {}x{} does not divide a tensor of {} x {}", t.tile_rows, t.tile_cols, t.rows, t.cols),
        "mxint_hardware cuts rows and columns into whole tiles");
  return t;
}

Reach block_reach(const Block& block, Role role) {
  return role == Role::bias || block.rows == 1 ? Reach::row : Reach::sequence;
}

}  // namespace mpq
