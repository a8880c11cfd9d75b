// Fixed point with saturation: clamp(rint(x 2^frac), -2^(width-1), 2^(width-1) - 1) / 2^frac.
//
// A format is a struct of its parameters:
//   summary, samples, choices   for people, tests and searches (a family's first choice is its default in a search)
//   describe(keys)              its keys: range, and default where it has one
//   bits()                      storage of one value
//   scale_key                   where one key halves every value with each step: that key, which fit() can choose
//   rule()                      prepared once, then the quantizer itself: a pure function on scalars
//   monotone, idempotent        promises that the tests hold it to, outside |x| <= 1e-8
// problem() names a combination of keys that makes no sense. Formats with tiles: see block_fp.h; with trainable
// parameters: binary_residual.h; used as a family otherwise than for x, w and b alike: binary.h.
#pragma once
#include <string_view>

#include "quant/scalar.h"

namespace mpq {

struct Integer {
  int32_t width, frac, floor;

  static constexpr std::string_view summary = "fixed point, saturating (MASE LinearInteger)";
  static constexpr std::string_view samples[] = {"integer(width=8,frac=4)", "integer(width=8,frac=4,round=floor)",
                                                 "integer(width=4,frac=-1)", "integer(width=32,frac=8)"};
  // The fraction decides: activations reach +-8 and more, weights of a BERT rarely +-1.
  static constexpr std::string_view choices[] = {
      "x=integer(width=8,frac=4);w=integer(width=8,frac=7);b=integer(width=8,frac=7)",
      "x=integer(width=8,frac=3);w=integer(width=8,frac=7);b=integer(width=8,frac=7)",
      "x=integer(width=8,frac=5);w=integer(width=8,frac=7);b=integer(width=8,frac=7)",
      "x=integer(width=8,frac=4);w=integer(width=6,frac=5);b=integer(width=8,frac=7)",
      "x=integer(width=6,frac=3);w=integer(width=6,frac=5);b=integer(width=8,frac=7)",
      "x=integer(width=6,frac=2);w=integer(width=6,frac=6);b=integer(width=8,frac=7)",
      "x=integer(width=6,frac=3);w=integer(width=4,frac=4);b=integer(width=8,frac=7)",
      "x=integer(width=4,frac=2);w=integer(width=4,frac=4);b=integer(width=8,frac=7)",
      "x=integer(width=12,frac=6);w=integer(width=12,frac=11);b=integer(width=12,frac=11)",
      "x=integer(width=16,frac=6);w=integer(width=16,frac=14);b=integer(width=16,frac=14)",
  };

  static constexpr std::string_view scale_key = "frac";
  static constexpr bool monotone = true, idempotent = true;
  bool operator==(const Integer&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.integer("width", width, 1, 32);
    keys.integer("frac", frac, -64, 64);
    keys.choice("round", floor, {"nearest", "floor"});
  }
  int bits() const { return width; }

  struct Rule {
    float scale, step, lo, hi;
    bool floor;
    HD float operator()(float x) const {
      const float v = x * scale, nearest = rintf(v);
      return clamp(nearest - (floor && nearest > v ? 1.0f : 0.0f), lo, hi) * step;
    }
  };
  HD Rule rule() const {
    const float half = normal_exp2i(width - 1);
    return {normal_exp2i(frac), normal_exp2i(-frac), -half, half - 1.0f, floor != 0};
  }
};

}  // namespace mpq
