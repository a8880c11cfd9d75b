// NVFP4: e2m1 elements in blocks of 16 with an e4m3 scale each, and a float32 scale of the tensor (NVIDIA, arXiv
// 2509.25149; the order of operations, and the smallest block scale, are torchao's).
#pragma once
#include <string_view>

#include "quant/small_float.h"
#include "quant/statistics.h"
#include "quant/tiles.h"

namespace mpq {

struct Nvfp4 {
  int32_t without_tensor_scale;

  static constexpr std::string_view summary = "NVFP4: e2m1 in blocks of 16, an e4m3 scale a block, a float32 scale";
  static constexpr std::string_view samples[] = {"nvfp4()", "nvfp4(global=none)"};
  // Activations behind a LayerNorm need no scale of the tensor, and without one they look no further than a row.
  static constexpr std::string_view choices[] = {
      "x=nvfp4(global=none);w=nvfp4();b=nvfp4()",
      "nvfp4()",
      "nvfp4(global=none)",
      "x=none;w=nvfp4();b=none",
      "x=mxfp(exponent=4,mantissa=3,block=32);w=nvfp4();b=nvfp4()",
      "x=scaled_integer(width=8,per=row);w=nvfp4();b=nvfp4()",
  };

  static constexpr bool monotone = true;
  bool operator==(const Nvfp4&) const = default;
  template <class Keys>
  void describe(Keys& keys) {
    keys.choice("global", without_tensor_scale, {"amax", "none"});
  }
  int bits() const { return 4; }
  int tile_bits() const { return 8; }
  int tensor_bits() const { return without_tensor_scale ? 0 : 32; }
  HD Tiles tiles(Role, const QuantShape& shape) const { return row_tiles(16, shape); }
  using TensorStatistic = Largest;
  HD bool over_tensor() const { return !without_tensor_scale; }

  struct Rule {
    float reciprocal, scale;
    HD float operator()(float x) const {
      constexpr SmallFloat e2m1{1, 0, 6.0f};
      const float v = x * reciprocal;
      return with_sign(e2m1.nearest(magnitude(v)), v) * scale;
    }
  };
  HD Rule rule(float max, float tensor_max) const {
    constexpr SmallFloat e4m3{3, -6, 448.0f};
    const float of_tensor = over_tensor() ? clamp(tensor_max / 2688.0f, 0x1p-121f, INFINITY) : 1.0f;
    const float of_block = e4m3.nearest(clamp(max / 6.0f / of_tensor, 0x1p-6f, 448.0f));
    return {1.0f / of_tensor / of_block, finite(of_tensor) ? product(of_tensor, of_block) : NAN};
  }
};

}  // namespace mpq
