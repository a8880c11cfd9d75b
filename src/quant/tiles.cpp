#include "quant/tiles.h"

#include "base/error.h"

namespace mpq {

static void check_rank(const QuantShape& s) {
  check(s.rank >= 1 && s.rank <= 3, "a tensor to quantize has 1 to 3 dimensions, not {}", s.rank);
}

void check_blocks(Role role, const QuantShape& shape) {
  check_rank(shape);
  const bool activation = role == Role::activation;
  if (activation && shape.rank == 1)
    throw UserError("a 1-D activation cannot be cut into blocks", "activations are 2-D or 3-D; a 1-D tensor is a bias");
  if (!activation && shape.rank == 3)
    throw UserError("a 3-D weight cannot be cut into blocks", "weights are 2-D, biases 1-D, activations 2-D or 3-D");
}

void check_dividing(const Tiles& t, const QuantShape& shape) {
  check_rank(shape);
  if (t.count() > 0 && (t.rows % t.tile_rows != 0 || t.cols % t.tile_cols != 0))
    throw UserError(
        fmt::format("tile {}x{} does not divide a tensor of {} x {}", t.tile_rows, t.tile_cols, t.rows, t.cols),
        "mxint_hardware cuts rows and columns into whole tiles");
}

}  // namespace mpq
