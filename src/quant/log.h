// Powers of two with a sign: sgn(x + c) 2^clamp(round(log2(|x| + c)), -bias, 2^(width-1) - 1 - bias), c = 0.1 *
// 2^-bias. There is no code for zero: 0 becomes 2^-bias. MASE, chop/nn/quantizers/log.py.
#pragma once
#include <string_view>

#include "quant/scalar.h"

namespace mpq {

struct Log {
  int32_t width, bias;

  static constexpr std::string_view summary = "powers of two, no zero (MASE LinearLog)";
  static constexpr std::string_view samples[] = {"log(width=8,bias=63)", "log(width=5,bias=11)", "log(width=4,bias=3)",
                                                 "log(width=2,bias=0)", "log(width=8,bias=128)"};
  // The largest value is 2^(2^(width-1) - 1 - bias): activations need 2^2 or more, weights 2^0 and small ones too.
  static constexpr std::string_view choices[] = {
      "x=log(width=5,bias=7);w=log(width=5,bias=15);b=log(width=5,bias=15)",
      "x=log(width=5,bias=9);w=log(width=5,bias=15);b=log(width=5,bias=15)",
      "x=log(width=5,bias=6);w=log(width=5,bias=13);b=log(width=5,bias=15)",
      "x=log(width=4,bias=4);w=log(width=4,bias=8);b=log(width=5,bias=15)",
      "x=log(width=4,bias=3);w=log(width=4,bias=7);b=log(width=5,bias=15)",
      "x=log(width=5,bias=7);w=log(width=4,bias=8);b=log(width=5,bias=15)",
      "x=log(width=4,bias=4);w=log(width=5,bias=15);b=log(width=5,bias=15)",
      "x=log(width=6,bias=15);w=log(width=6,bias=24);b=log(width=6,bias=24)",
      "log(width=8,bias=63)",
  };

  static constexpr std::string_view scale_key = "bias";
  static constexpr bool monotone = true, idempotent = true;
  bool operator==(const Log&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.integer("width", width, 2, 16);
    keys.integer("bias", bias, -127, 255, (1 << (width - 2)) - 1, "2^(width-2)-1");
  }
  int bits() const { return width; }

  struct Rule {
    float c, least, most;
    HD float operator()(float x) const {
      const float v = x + c, q = clamp(power_of_two(round_log2(binade(magnitude(x) + c))), least, most);
      return magnitude(v) > 0.0f ? with_sign(q, v) : v;  // x = -c gives the only zero; NaN stays NaN
    }
  };
  HD static Rule rule(int width, int bias, float c) { return {c, exp2i(-bias), exp2i((1 << (width - 1)) - 1 - bias)}; }
  HD Rule rule() const {
    return rule(width, bias, static_cast<float>(0.1 * double_exp2i(-bias)));  // rounded once, from double, as in MASE
  }
};

}  // namespace mpq
