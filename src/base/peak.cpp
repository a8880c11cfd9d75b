#include "base/peak.h"

namespace mpq {

namespace avx2 {
int64_t run_multiply_adds(int64_t flops, float& result);
}
namespace avx512 {
int64_t run_multiply_adds(int64_t flops, float& result);
}

int64_t run_multiply_adds(int64_t flops, float& result, Simd isa) {
  return (isa == Simd::avx512 ? avx512::run_multiply_adds : avx2::run_multiply_adds)(flops, result);
}

}  // namespace mpq
