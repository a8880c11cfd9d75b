// Two or three signs a value: r0 = x, o_l = sgn(r_l) |mean_l|, r_(l+1) = r_l - o_l, x' = o_0 + o_1 (+ o_2).
// The means are trainable, and the gradient is masked where |r_l| > 1.
// MASE, LinearBinaryResidualSign and chop/nn/quantizers/binary.py.
//
// A format with trainable parameters adds to integer.h's list:
//   max_trained, trained_count(), initial_trained(float*)
//   rule(trained)          trained: float[trained_count()], or null for the initial ones
//   Rule::gradient(...)    takes dx' and returns dx; writes what this value adds to the parameters' gradients
#pragma once
#include <string_view>

#include "quant/scalar.h"

namespace mpq {

struct BinaryResidual {
  static constexpr int max_trained = 3;  // levels
  int32_t levels;
  float means[max_trained];

  static constexpr std::string_view summary =
      "two or three signs of x, trainable means; w = sign |gamma|; b stays float (MASE LinearBinaryResidualSign)";
  static constexpr std::string_view samples[] = {"binary_residual(levels=2)", "binary_residual(levels=3)",
                                                 "binary_residual(levels=2,means=1:-0.25)"};
  static constexpr std::string_view linear = "x=binary_residual(%);w=binary();b=none";
  static constexpr std::string_view choices[] = {"binary_residual(levels=2)", "binary_residual(levels=3)"};

  bool operator==(const BinaryResidual&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    const float usual[2][max_trained] = {{2.0f / 3, 1.0f / 3, 0}, {1.0f / 2, 1.0f / 3, 1.0f / 6}};
    keys.integer("levels", levels, 2, max_trained);
    keys.reals("means", means, levels, usual[levels == 3], "2/3:1/3 or 1/2:1/3:1/6");
  }
  int bits() const { return levels; }
  HD int trained_count() const { return levels; }
  void initial_trained(float* trained) const {
    for (int l = 0; l < levels; ++l) trained[l] = means[l];
  }

  struct Rule {
    float mean[max_trained];  // absent ones are 0 and add an exact zero
    float sign[max_trained];  // of the means
    HD static float sgn(float r) { return r > 0.0f ? 1.0f : r < 0.0f ? -1.0f : r + 0.0f; }
    HD float operator()(float x) const {
      const float o0 = sgn(x) * mean[0], r1 = x - o0;
      const float o1 = sgn(r1) * mean[1], r2 = r1 - o1;
      return 0.0f + o0 + o1 + sgn(r2) * mean[2];
    }
    // Straight through each sign, inside -1 <= r <= 1; in the order of reverse differentiation.
    HD float gradient(float x, float dxq, float* dmean) const {
      float r[max_trained], s[max_trained];
      for (int l = 0; l < max_trained; ++l) {
        r[l] = l == 0 ? x : r[l - 1] - s[l - 1] * mean[l - 1];
        s[l] = sgn(r[l]);
      }
      float dr = 0.0f;
      for (int l = max_trained - 1; l >= 0; --l) {
        const float d_out = dxq - dr;
        dmean[l] = d_out * s[l] * sign[l];
        dr += magnitude(r[l]) <= 1.0f ? product(d_out, mean[l]) : 0.0f;
      }
      return dr;
    }
  };
  HD Rule rule(const float* trained) const {
    Rule rule;
    for (int l = 0; l < max_trained; ++l) {
      const float m = l >= levels ? 0.0f : trained ? trained[l] : means[l];
      rule.mean[l] = magnitude(m);
      rule.sign[l] = Rule::sgn(m);
    }
    return rule;
  }
};

}  // namespace mpq
