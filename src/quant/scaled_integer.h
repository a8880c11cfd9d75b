// Integers with a float32 scale for the tensor, a row (a channel of a weight, a token of an activation) or a group of a
// row; symmetric, or affine with a zero point. Bit for bit torchao's choose_qparams_affine and quantize_affine, and
// torch.fake_quantize given its scales.
#pragma once
#include <string_view>

#include "quant/statistics.h"
#include "quant/tiles.h"

namespace mpq {

struct ScaledInteger {
  int32_t width, affine, per;

  static constexpr std::string_view summary = "integers, a float32 scale a tensor, row or group; symmetric or affine";
  static constexpr std::string_view samples[] = {
      "scaled_integer(width=8,per=row)",
      "scaled_integer(width=8,per=tensor)",
      "scaled_integer(width=8,scheme=affine,per=row)",
      "scaled_integer(width=4,scheme=affine,per=tensor)",
      "scaled_integer(width=4,per=64)",
      "scaled_integer(width=2,scheme=affine,per=20)",
      "scaled_integer(width=2,per=200)",
  };
  static constexpr std::string_view choices[] = {
      "scaled_integer(width=8,per=row)",
      "scaled_integer(width=8,per=tensor)",
      "scaled_integer(width=6,per=row)",
      "scaled_integer(width=4,per=64)",
      "scaled_integer(width=4,per=32)",
      "x=scaled_integer(width=8,scheme=affine,per=row);w=scaled_integer(width=8,per=row);b=scaled_integer(width=8,per="
      "row)",
      "x=scaled_integer(width=8,per=row);w=scaled_integer(width=4,per=64);b=scaled_integer(width=8,per=row)",
      "x=scaled_integer(width=8,per=row);w=scaled_integer(width=4,scheme=affine,per=32);"
      "b=scaled_integer(width=8,per=row)",
      "x=scaled_integer(width=8,per=row);w=scaled_integer(width=3,per=32);b=scaled_integer(width=8,per=row)",
      "x=scaled_integer(width=4,scheme=affine,per=32);w=scaled_integer(width=4,per=32);"
      "b=scaled_integer(width=8,per=row)",
  };

  static constexpr bool monotone = true;
  bool idempotent() const { return !affine; }
  bool operator==(const ScaledInteger&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.integer("width", width, 2, 8);
    keys.choice("scheme", affine, {"symmetric", "affine"});
    keys.per("per", per, PerKey::with_groups);
  }
  int bits() const { return width; }
  int tile_bits() const { return 32 + (affine ? width : 0); }
  HD Tiles tiles(Role, const QuantShape& shape) const { return tiles_per(per, shape); }
  using Statistic = Extremes;
  HD bool over_tensor() const { return per == per_tensor; }

  struct Rule {
    float reciprocal, scale, zero, lo, hi;
    HD float operator()(float x) const {
      const float q = clamp(rintf(x * reciprocal) + zero, lo, hi);
      return (q - zero) * scale;
    }
  };
  HD Rule rule(const Extremes::Value& range) const {
    const float hi = static_cast<float>((1 << (affine ? width : width - 1)) - 1), lo = affine ? 0.0f : -hi;
    const float max = -range.least > range.most ? -range.least : range.most;
    const float scale = clamp((affine ? range.most - range.least : max) / hi, 0x1p-126f, INFINITY);
    const float zero = affine ? clamp(0.0f - rintf(range.least / scale), lo, hi) : 0.0f;
    return {1.0f / scale, finite(scale) ? scale : NAN, zero, lo, hi};
  }
};

}  // namespace mpq
