// OCP Microscaling v1.0, MXINT8, and its like of other widths: symmetric integers in blocks of a row that share a power
// of two. The lowest code is unused, and there is no negative zero.
#pragma once
#include <string_view>

#include "quant/shared_scale.h"
#include "quant/tiles.h"

namespace mpq {

struct Mxint {
  int32_t width, block, scale;

  static constexpr std::string_view summary = "OCP MXINT8 and other widths: integers, a power of two a block";
  static constexpr std::string_view samples[] = {"mxint(width=8,block=32)", "mxint(width=4,block=16,scale=even)",
                                                 "mxint(width=2,block=32,scale=ceil)",
                                                 "mxint(width=6,block=40,scale=rceil)"};
  static constexpr std::string_view choices[] = {
      "mxint(width=8,block=32)", "mxint(width=6,block=32)",
      "mxint(width=5,block=32)", "mxint(width=4,block=32)",
      "mxint(width=4,block=16)", "mxint(width=4,block=32,scale=even)",
      "mxint(width=3,block=16)", "x=mxint(width=8,block=32);w=mxint(width=4,block=32);b=mxint(width=8,block=32)",
  };

  static constexpr bool monotone = true, idempotent = true;
  bool operator==(const Mxint&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.integer("width", width, 2, 8);
    keys.integer("block", block, 1, INT32_MAX, 32, "32");
    keys.choice("scale", scale, {"floor", "ceil", "rceil", "even"});
  }
  int bits() const { return width; }
  int tile_bits() const { return 8; }
  HD Tiles tiles(Role, const QuantShape& shape) const { return row_tiles(block, shape); }

  struct Rule {
    float inverse, unit, top, step, power;  // 1 / X, 2^(width-2), largest code, 1 / unit, X
    HD float operator()(float x) const {
      const float k = clamp(rintf(x * inverse * unit), -top, top);
      return (k + 0.0f) * step * power;
    }
  };
  HD Rule rule(float max) const {
    const int fraction = width - 2;
    const float top = static_cast<float>((1 << (width - 1)) - 1), step = exp2i(-fraction);
    const int e = shared_exponent(max, scale, 0, top * step, fraction);
    const bool representable = e <= 127 && finite(max);
    return {exp2i(-e), exp2i(fraction), top, step, representable ? exp2i(e) : NAN};
  }
};

}  // namespace mpq
