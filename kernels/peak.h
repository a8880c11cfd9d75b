// The fastest a core can multiply and add: the ceiling that `mpq bench` holds every product against.
#pragma once
#include <cstdint>

// Runs at least `flops` floating-point operations (a fused multiply-add is two) out of registers; `result` receives a
// number that depends on all of them. Returns how many it ran.
namespace mpq::avx2 {
int64_t run_multiply_adds(int64_t flops, float& result);
}
namespace mpq::avx512 {
int64_t run_multiply_adds(int64_t flops, float& result);
}
