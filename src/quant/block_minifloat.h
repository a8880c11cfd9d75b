// Minifloats whose exponent bias is shared by a tile: the floor of log2 max |x|, not below zero. (So a larger maximum
// lowers the range, and below 2 the values are subnormal: mantissas of 9 bits and more work.)
// MASE, chop/nn/quantizers/block_minifloat.py.
#pragma once
#include <string_view>

#include "quant/minifloat_ieee.h"
#include "quant/tiles.h"

namespace mpq {

struct BlockMinifloat {
  int32_t width, exponent, bias_width;
  Block block;

  static constexpr std::string_view summary = "minifloats, one exponent bias a tile (MASE LinearBlockMinifloat)";
  static constexpr std::string_view samples[] = {"block_minifloat(width=16,exponent=4,bias_width=8,block=1x16)",
                                                 "block_minifloat(width=8,exponent=4,bias_width=4,block=16)",
                                                 "block_minifloat(width=14,exponent=3,bias_width=8,block=4x4)"};
  static constexpr std::string_view choices[] = {
      "block_minifloat(width=16,exponent=4,bias_width=8,block=1x16)",
      "block_minifloat(width=16,exponent=3,bias_width=8,block=1x16)",
      "block_minifloat(width=14,exponent=4,bias_width=8,block=1x16)",
      "block_minifloat(width=14,exponent=3,bias_width=8,block=1x16)",
      "block_minifloat(width=16,exponent=3,bias_width=8,block=1x32)",
      "block_minifloat(width=14,exponent=3,bias_width=8,block=1x32)",
      "block_minifloat(width=14,exponent=3,bias_width=4,block=1x64)",
  };

  bool operator==(const BlockMinifloat&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.integer("width", width, 2, 32);
    keys.integer("exponent", exponent, 1, 8);
    keys.integer("bias_width", bias_width, 1, 8);
    keys.block("block", block);
  }
  const char* problem() const { return exponent >= width ? "exponent must be smaller than width" : nullptr; }
  int bits() const { return width; }
  int tile_bits() const { return bias_width; }
  HD Reach reach(Role role) const { return block_reach(block, role); }
  HD Tiles tiles(Role role, const QuantShape& shape) const { return block_tiles(block, role, shape); }
  static constexpr bool fill_zero_tiles = true;

  using Rule = MinifloatIeee::Rule;
  HD Rule rule(float max) const {
    return MinifloatIeee::rule(width, exponent, clamp(floor_log2(max), 0, (1 << bias_width) - 1));
  }
};

}  // namespace mpq
