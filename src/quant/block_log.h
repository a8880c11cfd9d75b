// Powers of two whose exponent bias is shared by a tile, so that the largest fits. A zero becomes 2^-bias; in an
// all-zero tile with the bias of the smallest non-zero maximum of the whole tensor. MASE,
// chop/nn/quantizers/block_log.py.
#pragma once
#include <string_view>

#include "quant/log.h"
#include "quant/tiles.h"

namespace mpq {

struct BlockLog {
  int32_t width, bias_width;
  Block block;

  static constexpr std::string_view summary = "powers of two, one exponent bias a tile (MASE LinearBlockLog)";
  static constexpr std::string_view samples[] = {"block_log(width=4,bias_width=4,block=1x16)",
                                                 "block_log(width=8,bias_width=4,block=16)",
                                                 "block_log(width=5,bias_width=8,block=4x4)"};
  static constexpr std::string_view choices[] = {
      "block_log(width=4,bias_width=4,block=1x16)", "block_log(width=5,bias_width=8,block=1x16)",
      "block_log(width=6,bias_width=8,block=1x16)", "block_log(width=5,bias_width=6,block=1x32)",
      "block_log(width=4,bias_width=6,block=1x16)", "block_log(width=4,bias_width=4,block=1x8)",
      "block_log(width=4,bias_width=4,block=1x32)", "block_log(width=3,bias_width=4,block=1x8)",
      "block_log(width=3,bias_width=4,block=1x16)",
  };

  bool operator==(const BlockLog&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.integer("width", width, 2, 16);
    keys.integer("bias_width", bias_width, 1, 8);
    keys.block("block", block);
  }
  int bits() const { return width; }
  int tile_bits() const { return bias_width; }
  HD Reach reach(Role) const { return Reach::sequence; }  // the minimum's
  HD Reach tile_reach(Role role) const { return block_reach(block, role); }
  HD Tiles tiles(Role role, const QuantShape& shape) const { return block_tiles(block, role, shape); }
  static constexpr bool fill_zero_tiles = true;

  using Rule = Log::Rule;
  HD Rule rule(float max) const {
    const int bias = clamp((1 << (width - 1)) - 1 - ceil_log2(max), 0, (1 << bias_width) - 1);
    return Log::rule(width, bias, product(exp2i(-bias), 0.1f));  // a float32 product here, unlike in log
  }
};

}  // namespace mpq
