// OCP Microscaling v1.0, MXFP8, MXFP6 and MXFP4: small floats in blocks of a row that share a power of two.
#pragma once
#include <initializer_list>
#include <string_view>

#include "quant/shared_scale.h"
#include "quant/small_float.h"
#include "quant/tiles.h"

namespace mpq {

struct Mxfp {
  struct Element {
    int32_t exponent, mantissa;
  };
  int32_t exponent, mantissa, block, scale;

  static constexpr std::string_view summary = "OCP MXFP8, MXFP6, MXFP4: small floats, a power of two a block";
  static constexpr std::string_view samples[] = {
      "mxfp(exponent=4,mantissa=3,block=32)",           "mxfp(exponent=5,mantissa=2,block=32)",
      "mxfp(exponent=3,mantissa=2,block=16)",           "mxfp(exponent=2,mantissa=3,block=32,scale=even)",
      "mxfp(exponent=2,mantissa=1,block=8,scale=ceil)", "mxfp(exponent=4,mantissa=3,block=100,scale=rceil)"};
  static constexpr std::string_view choices[] = {
      "mxfp(exponent=4,mantissa=3,block=32)",
      "mxfp(exponent=4,mantissa=3,block=32,scale=rceil)",
      "mxfp(exponent=2,mantissa=3,block=32)",
      "mxfp(exponent=3,mantissa=2,block=32)",
      "mxfp(exponent=5,mantissa=2,block=32)",
      "mxfp(exponent=2,mantissa=1,block=32)",
      "mxfp(exponent=2,mantissa=1,block=32,scale=even)",
      "mxfp(exponent=2,mantissa=1,block=16,scale=even)",
      "x=mxfp(exponent=4,mantissa=3,block=32);w=mxfp(exponent=2,mantissa=1,block=32);"
      "b=mxfp(exponent=4,mantissa=3,block=32)",
      "x=mxfp(exponent=2,mantissa=3,block=32);w=mxfp(exponent=2,mantissa=1,block=32);"
      "b=mxfp(exponent=2,mantissa=3,block=32)",
  };

  static constexpr bool monotone = true, idempotent = true;
  bool operator==(const Mxfp&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.integer("exponent", exponent, 2, 5);
    keys.integer("mantissa", mantissa, 1, 3);
    keys.integer("block", block, 1, INT32_MAX, 32, "32");
    keys.choice("scale", scale, {"floor", "ceil", "rceil", "even"});
  }
  const char* problem() const {
    for (const auto& [e, m] : {Element{4, 3}, {5, 2}, {3, 2}, {2, 3}, {2, 1}})
      if (exponent == e && mantissa == m) return nullptr;
    return "exponent and mantissa are one of 4 and 3, 5 and 2, 3 and 2, 2 and 3, 2 and 1";
  }
  int bits() const { return 1 + exponent + mantissa; }
  int tile_bits() const { return 8; }
  HD Tiles tiles(Role, const QuantShape& shape) const { return row_tiles(block, shape); }

  // Exponent of the largest binade. e5m2 keeps its last one for infinity and NaN, e4m3 only the last code of it.
  HD int emax() const { return (1 << (exponent - 1)) - (exponent == 5 ? 1 : 0); }
  HD SmallFloat element() const {
    const int unused = exponent == 4 ? 1 : 0;
    const float fraction = 2.0f - static_cast<float>(1 + unused) * exp2i(-mantissa);
    return {mantissa, 2 - (1 << (exponent - 1)), fraction * exp2i(emax())};
  }

  struct Rule {
    SmallFloat element;
    float inverse, power;
    HD float operator()(float x) const { return with_sign(element.nearest(magnitude(x) * inverse), x) * power; }
  };
  HD Rule rule(float max) const {
    const SmallFloat small = element();
    const int e = shared_exponent(max, scale, emax(), small.top, mantissa);
    return {small, exp2i(-e), exp2i(e)};
  }
};

}  // namespace mpq
