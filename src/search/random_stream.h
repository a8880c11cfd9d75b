// NumPy's RandomState(seed), of which Optuna draws: the legacy MT19937, which is std::mt19937 word for word.
#pragma once
#include <bit>
#include <cstdint>
#include <random>

namespace mpq {

class RandomStream {
 public:
  explicit RandomStream(uint32_t seed) : words_(seed) {}

  // Uniform in [0, 1), 53 bits of two words.
  double uniform() {
    const uint32_t a = words_() >> 5, b = words_() >> 6;
    return (a * 67108864.0 + b) / 9007199254740992.0;
  }

  // Uniform in 0 ... most, by masked rejection (RandomState.shuffle). No draw for most = 0.
  uint32_t integer(uint32_t most) {
    if (most == 0) return 0;
    const uint32_t mask = ~uint32_t{0} >> std::countl_zero(most);
    for (;;)
      if (const uint32_t value = words_() & mask; value <= most) return value;
  }

 private:
  std::mt19937 words_;
};

}  // namespace mpq
