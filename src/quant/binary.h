// The sign: +1 for x >= 0 (both zeros), else -1 (NaN too). MASE, chop/nn/quantizers/binary.py, deterministic, bipolar.
#pragma once
#include <string_view>

#include "base/hd.h"

namespace mpq {

struct Binary {
  static constexpr std::string_view summary = "the sign of weights; x and b stay float (MASE LinearBinary)";
  static constexpr std::string_view samples[] = {"binary()"};
  // As a family, a format is x, w and b alike unless it says otherwise; % stands for the keys given.
  static constexpr std::string_view linear = "x=none;w=binary(%);b=none";
  static constexpr std::string_view choices[] = {"binary()"};

  static constexpr bool monotone = true, idempotent = true;
  bool operator==(const Binary&) const = default;
  template <class Keys>
  void describe(Keys&) {}
  int bits() const { return 1; }

  struct Rule {
    HD float operator()(float x) const { return x >= 0.0f ? 1.0f : -1.0f; }
  };
  HD Rule rule() const { return {}; }
};

struct BinaryScaling {
  static constexpr std::string_view summary = "the signs of x, w and b (MASE LinearBinaryScaling, training)";
  static constexpr std::string_view linear = "x=binary(%);w=binary(%);b=binary(%)";
  static constexpr std::string_view choices[] = {"binary_scaling()"};
};

}  // namespace mpq
