// The fastest a core can multiply and add: the ceiling that `mpq bench` holds every product against.
#pragma once
#include <cstdint>

#ifndef MPQ_ISA
#error "outside of kernels/ include base/peak.h"
#endif

namespace mpq::MPQ_ISA {

// Runs at least `flops` floating-point operations (a fused multiply-add is two) out of registers; `result` receives a
// number that depends on all of them. Returns how many it ran.
int64_t run_multiply_adds(int64_t flops, float& result);

}  // namespace mpq::MPQ_ISA
