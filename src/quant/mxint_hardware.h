// Integers with an exponent a tile, as MASE's hardware emitter computes them: q = 2^e clamp(floor(x / 2^e),
// -2^(width-1), 2^(width-1) - 1), e = ceil(log2 max |x|) - 2^(exponent-1), clamped. Saturates unless width - 1 >=
// 2^(exponent-1). MASE, chop/nn/quantizers/mxint_hardware.py.
#pragma once
#include <string_view>

#include "quant/scalar.h"
#include "quant/tiles.h"

namespace mpq {

struct MxintHardware {
  int32_t width, exponent;
  Block tile;

  static constexpr std::string_view summary =
      "integers, one exponent a tile, rounded down; a tile must divide the tensor (MASE LinearMXIntHardware)";
  static constexpr std::string_view samples[] = {"mxint_hardware(width=12,exponent=4,tile=1x16)",
                                                 "mxint_hardware(width=9,exponent=4,tile=2x2)",
                                                 "mxint_hardware(width=8,exponent=8,tile=1x32)"};
  static constexpr std::string_view choices[] = {
      "mxint_hardware(width=12,exponent=4,tile=1x16)", "mxint_hardware(width=11,exponent=4,tile=1x16)",
      "mxint_hardware(width=10,exponent=4,tile=1x16)", "mxint_hardware(width=9,exponent=4,tile=1x16)",
      "mxint_hardware(width=12,exponent=4,tile=1x32)", "mxint_hardware(width=11,exponent=4,tile=1x32)",
      "mxint_hardware(width=10,exponent=4,tile=1x32)", "mxint_hardware(width=9,exponent=4,tile=1x32)",
  };

  bool operator==(const MxintHardware&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.integer("width", width, 1, 32);
    keys.integer("exponent", exponent, 1, 8);
    keys.tile("tile", tile);
  }
  int bits() const { return width; }
  int tile_bits() const { return exponent; }
  HD Reach reach(Role role) const { return block_reach(tile, role); }
  HD Tiles tiles(Role, const QuantShape& shape) const { return dividing_tiles(tile, shape); }

  struct Rule {
    float power, inverse, rest;  // 2^e; its inverse, which takes two factors if e = -128
    float lo, hi;
    HD float operator()(float x) const { return power * clamp(floorf(x * inverse * rest), lo, hi); }
  };
  HD Rule rule(float max) const {
    const int reach = 1 << (exponent - 1);
    const int e = clamp(ceil_log2(max) - reach, -reach, (1 << exponent) - 1 - reach);
    const bool far = e < -127;
    const float half = normal_exp2i(width - 1);
    return {exp2i(e), exp2i(far ? 127 : -e), far ? 2.0f : 1.0f, -half, half - 1.0f};
  }
};

}  // namespace mpq
