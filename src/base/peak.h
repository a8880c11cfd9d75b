// The fastest a core can multiply and add, with the instruction set in use. Contract: kernels/peak.h.
#pragma once
#include <cstdint>

#include "base/simd.h"

namespace mpq {

int64_t run_multiply_adds(int64_t flops, float& result, Simd isa = simd());

}  // namespace mpq
