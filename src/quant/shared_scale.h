// The power of two that a block of the OCP Microscaling formats shares (MX v1.0, 6.3), as E8M0 stores it.
#pragma once
#include "quant/scalar.h"

namespace mpq {

enum SharedScale : int32_t { scale_floor, scale_ceil, scale_rceil, scale_even };

// Its exponent, -127 or more; above 127 there is none and the block is NaN. max: the largest |x|. emax, top,
// fraction_bits: of the elements, exponent of the largest binade, largest value, and bits behind the point. `even`
// rounds max to an element's precision first, ties up. `rceil` never clips: the quotient, rounded up (what NVIDIA's
// conversion instructions do; Mishra et al., arXiv 2506.08027).
HD int shared_exponent(float max, int rule, int emax, float top, int fraction_bits) {
  const bool by_quotient = rule == scale_rceil;
  const Binade of = binade(by_quotient ? max / top : max);
  const bool rounds_up = of.mantissa() >= (1 << 23) - (1 << (22 - fraction_bits));
  const bool up = rule == scale_even ? rounds_up : rule != scale_floor && of.mantissa() != 0;
  const int power = of.exponent() + (up ? 1 : 0), e = by_quotient ? (power < 127 ? power : 127) : power - emax;
  return e > -127 ? e : -127;
}

}  // namespace mpq
