// Products of float operands on the tensor cores, operands in TF32: 8 bits of exponent, 11 of significand.
// Two terms hold a float to its last bit or the one before (the second is the rounding error of the first), and three
// products of them, all but low times low, lose less of a product than a sum in float32 does (Ootomo and Yokota,
// "Recovering single precision accuracy from Tensor Cores", 2022). Three bf16 terms and six products at twice the rate
// would keep the tensor cores as long, but take twice the instructions to split what every block here splits anew.
#pragma once
#include "cuda/common.cuh"

namespace mpq {

// Fragments of one step of 8 along k, mma.m16n8k8. With g = lane / 4 and t = lane % 4 a lane holds
// a: rows g and g + 8 of k = t, then of k = t + 4;  b: column g of k = t and t + 4;
// c: row g, columns 2 t and 2 t + 1, then row g + 8.
template <int Terms>
struct LeftFragment {
  uint4 term[Terms];
};
template <int Terms>
struct RightFragment {
  uint2 term[Terms];
};

__device__ __forceinline__ uint32_t to_tf32(float x) {
  uint32_t bits;
#if __CUDA_ARCH__ >= 900
  asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#else
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
#endif
  return bits;
}

// Term i of x in term[i].
template <int Terms>
__device__ __forceinline__ void split(float x, uint32_t (&term)[Terms]) {
  term[0] = to_tf32(x);
  if constexpr (Terms == 2) term[1] = to_tf32(x - __uint_as_float(term[0]));
}

template <int Terms>
__device__ __forceinline__ LeftFragment<Terms> left_fragment(float a0, float a1, float a2, float a3) {
  uint32_t t0[Terms], t1[Terms], t2[Terms], t3[Terms];
  split(a0, t0), split(a1, t1), split(a2, t2), split(a3, t3);
  LeftFragment<Terms> fragment;
#pragma unroll
  for (int i = 0; i < Terms; ++i) fragment.term[i] = {t0[i], t1[i], t2[i], t3[i]};
  return fragment;
}
template <int Terms>
__device__ __forceinline__ RightFragment<Terms> right_fragment(float b0, float b1) {
  uint32_t t0[Terms], t1[Terms];
  split(b0, t0), split(b1, t1);
  RightFragment<Terms> fragment;
#pragma unroll
  for (int i = 0; i < Terms; ++i) fragment.term[i] = {t0[i], t1[i]};
  return fragment;
}

__device__ __forceinline__ void mma(float (&c)[4], uint4 a, uint2 b) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}

// c += a b over two steps. Tensor cores cut what they add off where a float ends: with two terms, the small products go
// first into a sum of their own, which is then rounded into c.
template <int Terms>
__device__ __forceinline__ void multiply_add(float (&c)[4], const LeftFragment<Terms> (&a)[2],
                                             const RightFragment<Terms> (&b)[2]) {
  if constexpr (Terms == 1) {
    mma(c, a[0].term[0], b[0].term[0]);
    mma(c, a[1].term[0], b[1].term[0]);
  } else {
    float sum[4] = {};
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      mma(sum, a[step].term[1], b[step].term[0]);
      mma(sum, a[step].term[0], b[step].term[1]);
    }
    mma(sum, a[0].term[0], b[0].term[0]);
    mma(sum, a[1].term[0], b[1].term[0]);
#pragma unroll
    for (int i = 0; i < 4; ++i) c[i] += sum[i];
  }
}

}  // namespace mpq
