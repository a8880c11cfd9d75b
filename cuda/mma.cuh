// The tensor core's instructions (PTX ISA, "Warp-level matrix instructions"), asynchronous copies into shared memory,
// and floats as sums of bf16 terms.
#pragma once
#include <cstdint>

#include "cuda/common.cuh"

namespace mpq {

#ifdef __CUDACC__

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// Four 8 x 8 matrices of bf16: lanes 8i ... 8i + 7 point at the rows of matrix i; lane l gets of each matrix row l / 4,
// columns 2 (l % 4) and the next. Transposed: row and column change places.
__device__ __forceinline__ void load_matrices(uint32_t (&to)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&to)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(shared_address(row))
               : "memory");
}

// c += a b: a [16 x 16], b [16 x 8] bf16, c [16 x 8] float. Lane l holds c of rows l / 4 and l / 4 + 8, columns
// 2 (l % 4) and the next.
__device__ __forceinline__ void multiply_add(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 16 or 4 bytes from global to shared memory, zeros where `inside` does not hold; lands by wait_for_copies.
template <int kBytes>
__device__ __forceinline__ void copy_async(void* to, const void* from, bool inside) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
               :
               : "r"(shared_address(to)), "l"(from), "n"(kBytes), "r"(inside ? kBytes : 0)
               : "memory");
}
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for this thread's groups of copies, all but the `kPending` last ones.
template <int kPending>
__device__ __forceinline__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" : : "n"(kPending) : "memory");
}

// Two floats rounded to bf16, x in the lower half. A finite float beyond bf16's largest value becomes that value where
// a second term can take the rest, and infinity where there is none.
template <bool kSaturate>
__device__ __forceinline__ uint32_t to_bf16(float x, float y) {
  uint32_t pair;
  if constexpr (kSaturate)
    asm("cvt.rn.satfinite.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(y), "f"(x));
  else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(y), "f"(x));
  return pair;
}

// x and y as sums of kTerms bf16 each, largest first: 8 significant bits a term, so three hold any float (the
// differences are exact). A term after the first is zero (all bits) where the ones before it are exact.
template <int kTerms>
__device__ __forceinline__ void split(float x, float y, uint32_t (&terms)[kTerms]) {
#pragma unroll
  for (int i = 0; i < kTerms; ++i) {
    terms[i] = i == 0 && kTerms > 1 ? to_bf16<true>(x, y) : to_bf16<false>(x, y);
    x -= __uint_as_float(terms[i] << 16);
    y -= __uint_as_float(terms[i] & 0xFFFF0000u);
  }
}

#endif

}  // namespace mpq
