// A small float without a hidden bit: every mantissa is a fraction k / 2^M, k < 2^M (M = width - exponent - 1), so a
// power of two is not representable. MASE, chop/nn/quantizers/minifloat.py.
#pragma once
#include <string_view>

#include "quant/scalar.h"

namespace mpq {

HD int minifloat_bias(int exponent) { return (1 << (exponent - 1)) - 1; }  // the usual one, as in IEEE 754

struct MinifloatDenorm {
  int32_t width, exponent, bias;

  static constexpr std::string_view summary = "float without a hidden bit (MASE LinearMinifloatDenorm)";
  static constexpr std::string_view samples[] = {
      "minifloat_denorm(width=8,exponent=4,bias=7)", "minifloat_denorm(width=8,exponent=4,bias=20)",
      "minifloat_denorm(width=4,exponent=2,bias=1)", "minifloat_denorm(width=16,exponent=5,bias=15)"};
  static constexpr std::string_view choices[] = {
      "minifloat_denorm(width=8,exponent=4,bias=7)",  "minifloat_denorm(width=8,exponent=4,bias=9)",
      "minifloat_denorm(width=8,exponent=3,bias=3)",  "minifloat_denorm(width=8,exponent=3,bias=5)",
      "minifloat_denorm(width=8,exponent=5,bias=15)", "minifloat_denorm(width=6,exponent=4,bias=9)",
      "minifloat_denorm(width=6,exponent=3,bias=5)",  "minifloat_denorm(width=5,exponent=3,bias=5)",
      "minifloat_denorm(width=10,exponent=4,bias=7)", "minifloat_denorm(width=12,exponent=5,bias=15)",
  };

  static constexpr std::string_view scale_key = "bias";
  static constexpr bool monotone = true;
  bool operator==(const MinifloatDenorm&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.integer("width", width, 2, 32);
    keys.integer("exponent", exponent, 1, 8);
    keys.integer("bias", bias, -127, 255, minifloat_bias(exponent), "2^(exponent-1)-1");
  }
  const char* problem() const { return exponent >= width ? "exponent must be smaller than width" : nullptr; }
  int bits() const { return width; }

  struct Rule {
    float half_scale, unit, top;  // 2^(M-1), 2^-M, 2^M - 1
    float least, most;            // 2^e
    HD float operator()(float x) const {
      const float v = magnitude(x);
      const float power = clamp(power_of_two(ceil_log2(normal_binade(v + log2_epsilon))), least, most);
      const float k = clamp(rintf(v * twice_inverse(power) * half_scale), 0.0f, top);
      return keep_near_zero(x, with_sign(power * (k * unit), x + log2_epsilon));
    }
  };
  HD Rule rule() const {
    const int mantissa = width - exponent - 1;
    return {normal_exp2i(mantissa - 1), normal_exp2i(-mantissa), normal_exp2i(mantissa) - 1.0f, exp2i(-bias),
            exp2i((1 << exponent) - 1 - bias)};
  }
};

}  // namespace mpq
