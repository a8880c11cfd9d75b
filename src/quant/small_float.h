// Magnitudes of a small float with a hidden bit and subnormals: IEEE 754 but for its largest values.
#pragma once
#include "quant/scalar.h"

namespace mpq {

struct SmallFloat {
  int32_t mantissa, smallest;  // fraction bits; exponent of the smallest normal number
  float top;

  // The nearest value, ties to even, saturating; a >= 0.
  HD float nearest(float a) const {
    a = a < top ? a : top;
    const int exponent = static_cast<int>(to_bits(a) >> 23) - 127;
    const int step = (exponent > smallest ? exponent : smallest) - mantissa;
    return rintf(a * normal_exp2i(-step)) * normal_exp2i(step);
  }
};

}  // namespace mpq
