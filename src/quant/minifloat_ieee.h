// A small float with a hidden bit and subnormals. Not IEEE 754: every exponent code is a number, and rounding up never
// carries into the next binade. MASE, chop/nn/quantizers/minifloat.py.
#pragma once
#include <string_view>

#include "quant/minifloat_denorm.h"
#include "quant/scalar.h"

namespace mpq {

struct MinifloatIeee {
  int32_t width, exponent, bias;

  static constexpr std::string_view summary = "float with hidden bit and subnormals (MASE LinearMinifloatIEEE)";
  static constexpr std::string_view samples[] = {
      "minifloat_ieee(width=8,exponent=4,bias=7)", "minifloat_ieee(width=8,exponent=4,bias=20)",
      "minifloat_ieee(width=4,exponent=2,bias=1)", "minifloat_ieee(width=16,exponent=5,bias=15)"};
  static constexpr std::string_view choices[] = {
      "minifloat_ieee(width=8,exponent=4,bias=7)",  "minifloat_ieee(width=8,exponent=4,bias=9)",
      "minifloat_ieee(width=8,exponent=3,bias=5)",  "minifloat_ieee(width=8,exponent=5,bias=15)",
      "minifloat_ieee(width=6,exponent=4,bias=9)",  "minifloat_ieee(width=6,exponent=3,bias=5)",
      "minifloat_ieee(width=5,exponent=3,bias=5)",  "minifloat_ieee(width=4,exponent=2,bias=3)",
      "minifloat_ieee(width=10,exponent=4,bias=7)", "minifloat_ieee(width=12,exponent=5,bias=15)",
  };

  static constexpr std::string_view scale_key = "bias";
  static constexpr bool monotone = true, idempotent = true;
  bool operator==(const MinifloatIeee&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.integer("width", width, 2, 32);
    keys.integer("exponent", exponent, 1, 8);
    keys.integer("bias", bias, -127, 255, minifloat_bias(exponent), "2^(exponent-1)-1");
  }
  const char* problem() const { return exponent >= width ? "exponent must be smaller than width" : nullptr; }
  int bits() const { return width; }

  struct Rule {
    float scale, unit, top;  // 2^M, 2^-M, 2^M - 1
    float least, most;       // 2^e; at the least one: subnormals
    HD float operator()(float x) const {
      const float v = magnitude(x);
      const float power = clamp(power_of_two(floor_log2(normal_binade(v + log2_epsilon))), least, most);
      const bool normal = power > least;
      const float half = v * twice_inverse(power) * (0.25f * scale);  // subnormals count in steps of two
      const float k = clamp(rintf(normal ? half * 2.0f - scale : half), 0.0f, top) * unit;
      const float mantissa = normal ? 1.0f + k : k * 2.0f;
      return keep_near_zero(x, with_sign(power * mantissa, x + log2_epsilon));
    }
  };
  HD static Rule rule(int width, int exponent, int bias) {
    const int mantissa = width - exponent - 1;
    const float scale = normal_exp2i(mantissa);
    return {scale, normal_exp2i(-mantissa), scale - 1.0f, exp2i(-bias), exp2i((1 << exponent) - 1 - bias)};
  }
  HD Rule rule() const { return rule(width, exponent, bias); }
};

}  // namespace mpq
