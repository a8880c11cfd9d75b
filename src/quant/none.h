// Full precision: the float control of every table.
#pragma once
#include <string_view>

#include "base/hd.h"

namespace mpq {

struct None {
  static constexpr std::string_view summary = "float32, unquantized";
  static constexpr std::string_view samples[] = {"none"};
  static constexpr std::string_view choices[] = {"none"};

  static constexpr bool monotone = true, idempotent = true;
  bool operator==(const None&) const = default;
  template <class Keys>
  void describe(Keys&) {}
  int bits() const { return 32; }

  struct Rule {
    HD float operator()(float x) const { return x; }
  };
  HD Rule rule() const { return {}; }
};

}  // namespace mpq
