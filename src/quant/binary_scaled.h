// The sign of a weight times the mean |w| of its tensor or row (XNOR-Net, Rastegari et al., arXiv 1603.05279).
#pragma once
#include <string_view>

#include "quant/statistics.h"
#include "quant/tiles.h"

namespace mpq {

struct BinaryScaled {
  int32_t per;

  static constexpr std::string_view summary = "the sign of weights times their mean |w|; x and b stay float (XNOR-Net)";
  static constexpr std::string_view samples[] = {"binary_scaled(per=row)", "binary_scaled(per=tensor)"};
  static constexpr std::string_view linear = "x=none;w=binary_scaled(%);b=none";
  static constexpr std::string_view choices[] = {
      "binary_scaled(per=row)",
      "binary_scaled(per=tensor)",
      "x=scaled_integer(width=8,per=row);w=binary_scaled(per=row);b=none",
      "x=scaled_integer(width=8,per=row);w=binary_scaled(per=tensor);b=none",
      "x=scaled_integer(width=4,scheme=affine,per=32);w=binary_scaled(per=row);b=none",
      "x=mxfp(exponent=4,mantissa=3,block=32);w=binary_scaled(per=row);b=none",
  };

  static constexpr bool monotone = true, idempotent = true;
  bool operator==(const BinaryScaled&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.per("per", per, PerKey::tensor_or_row);
  }
  int bits() const { return 1; }
  int tile_bits() const { return 32; }
  HD Tiles tiles(Role, const QuantShape& shape) const { return tiles_per(per, shape); }
  using Statistic = MeanMagnitude;
  HD bool over_tensor() const { return per == per_tensor; }

  struct Rule {
    float alpha;
    HD float operator()(float x) const { return (x >= 0.0f ? alpha : -alpha) + 0.0f; }
  };
  HD Rule rule(double mean) const { return {static_cast<float>(mean)}; }
};

}  // namespace mpq
