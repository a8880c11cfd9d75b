// What lives inside kernels/ and no operation shows alone, for the tests: functions of math.h over arrays, and gemm.
#pragma once
#include <cstdint>

namespace mpq {

struct GemmCase {
  int64_t m, n, k;
  const float *a, *b, *start;  // [m, k] or, transposed, [k, m]; [n, k]; null, a row [n], or [m, n]
  bool a_transposed, b_packed, start_is_row;
  float* c;  // [m, n]
};

#define MPQ_HOOKS(isa)                                     \
  namespace isa {                                          \
  void exp_of(const float* x, float* y, int64_t n);        \
  void erf_of(const float* x, float* y, int64_t n);        \
  void tanh_of(const float* x, float* y, int64_t n);       \
  void gemm_of(const GemmCase&);     /* C = start + A B */ \
  void gemm_add_of(const GemmCase&); /* C += A B */        \
  }
MPQ_HOOKS(avx2)
MPQ_HOOKS(avx512)
#undef MPQ_HOOKS

}  // namespace mpq
