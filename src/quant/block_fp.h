// Block floating point (MSFP): the values of a tile share the exponent of the largest; each keeps a sign and a fraction
// k / 2^M, M = width - 1 (width does not count the exponent). MASE, chop/nn/quantizers/block_fp.py.
//
// A format with tiles adds to integer.h's list:
//   tiles(role, shape)       how the tiles lie
//   tile_bits()              storage of what a tile shares
//   rule(max)                as rule(), for a tile whose max |x| is given (never NaN: such a tile is all NaN)
//   reach(role)              how far a tile reaches, where it may hold several rows
//   fill_zero_tiles          MASE gives an all-zero tile the smallest non-zero maximum of the tensor
// and, where the rule asks for something else than max |x| (statistics.h):
//   Statistic                its value goes to rule(value)
//   TensorStatistic          also of the whole tensor: rule(max, value); tensor_bits()
//   over_tensor()            whether the last one is really of the whole tensor, with these parameters; without
//                            TensorStatistic: whether the tensor is one tile
#pragma once
#include <string_view>

#include "quant/minifloat_denorm.h"
#include "quant/scalar.h"
#include "quant/tiles.h"

namespace mpq {

struct BlockFp {
  int32_t width, exponent, bias;
  Block block;

  static constexpr std::string_view summary = "block floating point, one exponent a tile (MASE LinearBlockFP)";
  static constexpr std::string_view samples[] = {
      "block_fp(width=7,exponent=8,bias=127,block=1x16)", "block_fp(width=4,exponent=8,bias=127,block=16)",
      "block_fp(width=12,exponent=5,bias=15,block=4x4)", "block_fp(width=6,exponent=8,bias=127,block=1x*)"};
  static constexpr std::string_view choices[] = {
      "block_fp(width=7,exponent=8,bias=127,block=1x16)", "block_fp(width=8,exponent=8,bias=127,block=1x16)",
      "block_fp(width=6,exponent=8,bias=127,block=1x16)", "block_fp(width=5,exponent=8,bias=127,block=1x16)",
      "block_fp(width=4,exponent=8,bias=127,block=1x16)", "block_fp(width=3,exponent=8,bias=127,block=1x16)",
      "block_fp(width=4,exponent=8,bias=127,block=1x8)",  "block_fp(width=6,exponent=8,bias=127,block=1x32)",
      "block_fp(width=5,exponent=8,bias=127,block=1x32)", "block_fp(width=6,exponent=8,bias=127,block=1x64)",
  };

  bool operator==(const BlockFp&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.integer("width", width, 1, 32);
    keys.integer("exponent", exponent, 1, 8);
    keys.integer("bias", bias, -127, 255, minifloat_bias(exponent), "2^(exponent-1)-1");
    keys.block("block", block);
  }
  int bits() const { return width; }
  int tile_bits() const { return exponent; }
  HD Reach reach(Role role) const { return block_reach(block, role); }
  HD Tiles tiles(Role role, const QuantShape& shape) const { return block_tiles(block, role, shape); }
  static constexpr bool fill_zero_tiles = true;

  struct Rule {
    float power, scale, unit, top;  // 2^e, 2^(M-e), 2^-M, 2^M - 1
    HD float operator()(float x) const {
      const float k = clamp(rintf((magnitude(x) + log2_epsilon) * scale), 0.0f, top);
      return keep_near_zero(x, with_sign(power * (k * unit), x + log2_epsilon));
    }
  };
  HD Rule rule(float max) const {
    const float power = exp2i(clamp(ceil_log2(max), -bias, (1 << exponent) - 1 - bias));
    return {power, twice_inverse(power) * normal_exp2i(width - 2), normal_exp2i(1 - width),
            normal_exp2i(width - 1) - 1.0f};
  }
};

}  // namespace mpq
