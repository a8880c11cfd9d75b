// -alpha, 0 or alpha, with alpha of the tensor or row. rule=twn: zero up to 0.7 mean |w|, alpha the mean of the others
// (Ternary Weight Networks, Li et al., arXiv 1605.04711). rule=absmean: alpha = mean |w|, w / alpha rounded (BitNet
// b1.58, Ma et al., arXiv 2402.17764).
#pragma once
#include <string_view>

#include "quant/statistics.h"
#include "quant/tiles.h"

namespace mpq {

// The mean |x|, and that of the values beyond 0.7 of it.
struct TernaryMeans {
  using Before = MeanMagnitude;
  using Parts = Sums<2>;  // |x|, and how many
  struct Value {
    float mean, threshold, of_kept;
  };
  HD static float threshold(double mean) { return static_cast<float>(0.7 * mean); }
  HD static Parts parts(float x, double mean) {
    const bool kept = magnitude(x) > threshold(mean);
    return {{kept ? magnitude(x) : 0.0, kept ? 1.0 : 0.0}};
  }
  HD static Value value(const Parts& all, int64_t, double mean) {
    const double count = all.of[1] > 0 ? all.of[1] : 1;
    return {static_cast<float>(mean), threshold(mean), static_cast<float>(all.of[0] / count)};
  }
  HD static bool spoils(const Value& v) { return !finite(v.mean); }
};

struct Ternary {
  int32_t absmean, per;

  static constexpr std::string_view summary =
      "-alpha, 0 or alpha for weights; x and b stay float (rule=twn: TWN, rule=absmean: BitNet b1.58)";
  static constexpr std::string_view samples[] = {"ternary(rule=twn,per=row)", "ternary(rule=twn,per=tensor)",
                                                 "ternary(rule=absmean,per=row)", "ternary(rule=absmean,per=tensor)"};
  static constexpr std::string_view linear = "x=none;w=ternary(%);b=none";
  static constexpr std::string_view choices[] = {
      "ternary(rule=twn,per=row)",
      "ternary(rule=twn,per=tensor)",
      "ternary(rule=absmean,per=tensor)",
      "ternary(rule=absmean,per=row)",
      "x=scaled_integer(width=8,per=row);w=ternary(rule=absmean,per=tensor);b=none",
      "x=scaled_integer(width=8,per=row);w=ternary(rule=twn,per=row);b=none",
      "x=mxfp(exponent=4,mantissa=3,block=32);w=ternary(rule=twn,per=row);b=none",
  };

  static constexpr bool monotone = true;
  bool idempotent() const { return !absmean; }
  bool operator==(const Ternary&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.one_of("rule", absmean, {"twn", "absmean"});
    keys.per("per", per, PerKey::tensor_or_row);
  }
  int bits() const { return 2; }
  int tile_bits() const { return 32; }
  HD Tiles tiles(Role, const QuantShape& shape) const { return tiles_per(per, shape); }
  using Statistic = TernaryMeans;
  HD bool over_tensor() const { return per == per_tensor; }

  struct Rule {
    float divisor, threshold, alpha;  // absmean divides by the first, twn compares with the second
    bool absmean;
    HD float operator()(float x) const {
      const float rounded = clamp(rintf(x / divisor), -1.0f, 1.0f);
      const float kept = magnitude(x) > threshold ? with_sign(1.0f, x) : 0.0f;
      return ((absmean ? rounded : kept) + 0.0f) * alpha;
    }
  };
  HD Rule rule(const TernaryMeans::Value& means) const {
    return {means.mean > 1e-5f ? means.mean : 1e-5f, means.threshold, absmean ? means.mean : means.of_kept,
            absmean != 0};
  }
};

}  // namespace mpq
