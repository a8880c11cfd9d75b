// Sixteen floats (F16) or 32-bit integers (I16) at a time, whatever the instruction set: one AVX-512 register or two
// AVX2 ones. The number of lanes is part of the results (sums over lanes), the register width never is. Columns are
// summed over the rows of a batch in double (D16): a float chain over thousands of rows would lose digits.
#pragma once
// GCC 12 warns about the undefined values inside its own AVX-512 intrinsics (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstdint>

#include "kernels/isa_begin.h"

#define MPQ_INLINE [[gnu::always_inline]] inline

#ifdef MPQ_ISA_avx512

struct F16 {
  __m512 v;
};
struct I16 {
  __m512i v;
};
struct M16 {
  __mmask16 v;
};

MPQ_INLINE F16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
MPQ_INLINE void store(float* p, F16 a) { _mm512_storeu_ps(p, a.v); }
MPQ_INLINE F16 set(float x) { return {_mm512_set1_ps(x)}; }
MPQ_INLINE I16 seti(int32_t x) { return {_mm512_set1_epi32(x)}; }
MPQ_INLINE I16 lane_index() { return {_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)}; }
MPQ_INLINE M16 first_lanes(int n) { return {static_cast<__mmask16>((1u << n) - 1)}; }  // n <= 16
MPQ_INLINE F16 load(const float* p, M16 m) { return {_mm512_maskz_loadu_ps(m.v, p)}; }
MPQ_INLINE void store(float* p, F16 a, M16 m) { _mm512_mask_storeu_ps(p, m.v, a.v); }
MPQ_INLINE F16 operator+(F16 a, F16 b) { return {_mm512_add_ps(a.v, b.v)}; }
MPQ_INLINE F16 operator-(F16 a, F16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
MPQ_INLINE F16 operator*(F16 a, F16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
MPQ_INLINE F16 operator/(F16 a, F16 b) { return {_mm512_div_ps(a.v, b.v)}; }
MPQ_INLINE F16 fma(F16 a, F16 b, F16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
MPQ_INLINE F16 max(F16 a, F16 b) { return {_mm512_max_ps(a.v, b.v)}; }
MPQ_INLINE F16 min(F16 a, F16 b) { return {_mm512_min_ps(a.v, b.v)}; }
MPQ_INLINE F16 sqrt(F16 a) { return {_mm512_sqrt_ps(a.v)}; }
MPQ_INLINE F16 rint(F16 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
MPQ_INLINE I16 to_int(F16 a) { return {_mm512_cvtps_epi32(a.v)}; }
MPQ_INLINE I16 bits(F16 a) { return {_mm512_castps_si512(a.v)}; }
MPQ_INLINE F16 as_float(I16 a) { return {_mm512_castsi512_ps(a.v)}; }
MPQ_INLINE I16 operator+(I16 a, I16 b) { return {_mm512_add_epi32(a.v, b.v)}; }
MPQ_INLINE I16 operator^(I16 a, I16 b) { return {_mm512_xor_si512(a.v, b.v)}; }
MPQ_INLINE I16 operator&(I16 a, I16 b) { return {_mm512_and_si512(a.v, b.v)}; }
MPQ_INLINE I16 operator|(I16 a, I16 b) { return {_mm512_or_si512(a.v, b.v)}; }
template <int n>
MPQ_INLINE I16 shift_left(I16 a) {
  return {_mm512_slli_epi32(a.v, n)};
}
template <int n>
MPQ_INLINE I16 shift_right(I16 a) {
  return {_mm512_srli_epi32(a.v, n)};
}
MPQ_INLINE M16 less(F16 a, F16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
MPQ_INLINE M16 less(I16 a, I16 b) { return {_mm512_cmplt_epi32_mask(a.v, b.v)}; }
MPQ_INLINE F16 select(M16 m, F16 yes, F16 no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }
MPQ_INLINE I16 multiply_high(I16 a, uint32_t b) {  // unsigned 32 x 32 -> upper 32
  const __m512i m = _mm512_set1_epi32(static_cast<int>(b));
  const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(a.v, m), 32);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), m);
  return {_mm512_mask_blend_epi32(0xAAAA, even, odd)};
}
MPQ_INLINE I16 multiply_low(I16 a, uint32_t b) {
  return {_mm512_mullo_epi32(a.v, _mm512_set1_epi32(static_cast<int>(b)))};
}
struct F8 {
  __m256 v;
};
MPQ_INLINE F8 low_half(F16 a) { return {_mm512_castps512_ps256(a.v)}; }
MPQ_INLINE F8 high_half(F16 a) { return {_mm512_extractf32x8_ps(a.v, 1)}; }
struct D16 {
  __m512d lo, hi;
};
MPQ_INLINE D16 zero_double() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
MPQ_INLINE D16 operator+(D16 a, F16 b) {
  return {_mm512_add_pd(a.lo, _mm512_cvtps_pd(low_half(b).v)), _mm512_add_pd(a.hi, _mm512_cvtps_pd(high_half(b).v))};
}
MPQ_INLINE F16 to_float(D16 a) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(a.lo)), _mm512_cvtpd_ps(a.hi), 1)};
}

#else

struct F16 {
  __m256 lo, hi;
};
struct I16 {
  __m256i lo, hi;
};
struct M16 {
  __m256 lo, hi;
};

MPQ_INLINE F16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
MPQ_INLINE void store(float* p, F16 a) { _mm256_storeu_ps(p, a.lo), _mm256_storeu_ps(p + 8, a.hi); }
MPQ_INLINE F16 set(float x) {
  const __m256 v = _mm256_set1_ps(x);
  return {v, v};
}
MPQ_INLINE I16 seti(int32_t x) {
  const __m256i v = _mm256_set1_epi32(x);
  return {v, v};
}
MPQ_INLINE I16 lane_index() {
  return {_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)};
}
MPQ_INLINE M16 first_lanes(int n) {
  const I16 i = lane_index();
  const __m256i c = _mm256_set1_epi32(n);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(c, i.lo)), _mm256_castsi256_ps(_mm256_cmpgt_epi32(c, i.hi))};
}
MPQ_INLINE F16 load(const float* p, M16 m) {
  return {_mm256_maskload_ps(p, _mm256_castps_si256(m.lo)), _mm256_maskload_ps(p + 8, _mm256_castps_si256(m.hi))};
}
MPQ_INLINE void store(float* p, F16 a, M16 m) {
  _mm256_maskstore_ps(p, _mm256_castps_si256(m.lo), a.lo);
  _mm256_maskstore_ps(p + 8, _mm256_castps_si256(m.hi), a.hi);
}
MPQ_INLINE F16 operator+(F16 a, F16 b) { return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)}; }
MPQ_INLINE F16 operator-(F16 a, F16 b) { return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)}; }
MPQ_INLINE F16 operator*(F16 a, F16 b) { return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)}; }
MPQ_INLINE F16 operator/(F16 a, F16 b) { return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)}; }
MPQ_INLINE F16 fma(F16 a, F16 b, F16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
MPQ_INLINE F16 max(F16 a, F16 b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
MPQ_INLINE F16 min(F16 a, F16 b) { return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)}; }
MPQ_INLINE F16 sqrt(F16 a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
MPQ_INLINE F16 rint(F16 a) {
  constexpr int mode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.lo, mode), _mm256_round_ps(a.hi, mode)};
}
MPQ_INLINE I16 to_int(F16 a) { return {_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi)}; }
MPQ_INLINE I16 bits(F16 a) { return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
MPQ_INLINE F16 as_float(I16 a) { return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
MPQ_INLINE I16 operator+(I16 a, I16 b) { return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)}; }
MPQ_INLINE I16 operator^(I16 a, I16 b) { return {_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)}; }
MPQ_INLINE I16 operator&(I16 a, I16 b) { return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)}; }
MPQ_INLINE I16 operator|(I16 a, I16 b) { return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)}; }
template <int n>
MPQ_INLINE I16 shift_left(I16 a) {
  return {_mm256_slli_epi32(a.lo, n), _mm256_slli_epi32(a.hi, n)};
}
template <int n>
MPQ_INLINE I16 shift_right(I16 a) {
  return {_mm256_srli_epi32(a.lo, n), _mm256_srli_epi32(a.hi, n)};
}
MPQ_INLINE M16 less(F16 a, F16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
MPQ_INLINE M16 less(I16 a, I16 b) {
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(b.lo, a.lo)), _mm256_castsi256_ps(_mm256_cmpgt_epi32(b.hi, a.hi))};
}
MPQ_INLINE F16 select(M16 m, F16 yes, F16 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, m.lo), _mm256_blendv_ps(no.hi, yes.hi, m.hi)};
}
MPQ_INLINE __m256i multiply_high(__m256i a, __m256i m) {
  const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(a, m), 32);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), m);
  return _mm256_blend_epi32(even, odd, 0xAA);
}
MPQ_INLINE I16 multiply_high(I16 a, uint32_t b) {
  const __m256i m = _mm256_set1_epi32(static_cast<int>(b));
  return {multiply_high(a.lo, m), multiply_high(a.hi, m)};
}
MPQ_INLINE I16 multiply_low(I16 a, uint32_t b) {
  const __m256i m = _mm256_set1_epi32(static_cast<int>(b));
  return {_mm256_mullo_epi32(a.lo, m), _mm256_mullo_epi32(a.hi, m)};
}
struct F8 {
  __m256 v;
};
MPQ_INLINE F8 low_half(F16 a) { return {a.lo}; }
MPQ_INLINE F8 high_half(F16 a) { return {a.hi}; }
struct D16 {
  __m256d v[4];
};
MPQ_INLINE D16 zero_double() {
  return {{_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()}};
}
MPQ_INLINE D16 operator+(D16 a, F16 b) {
  return {{_mm256_add_pd(a.v[0], _mm256_cvtps_pd(_mm256_castps256_ps128(b.lo))),
           _mm256_add_pd(a.v[1], _mm256_cvtps_pd(_mm256_extractf128_ps(b.lo, 1))),
           _mm256_add_pd(a.v[2], _mm256_cvtps_pd(_mm256_castps256_ps128(b.hi))),
           _mm256_add_pd(a.v[3], _mm256_cvtps_pd(_mm256_extractf128_ps(b.hi, 1)))}};
}
MPQ_INLINE F16 to_float(D16 a) {
  return {_mm256_set_m128(_mm256_cvtpd_ps(a.v[1]), _mm256_cvtpd_ps(a.v[0])),
          _mm256_set_m128(_mm256_cvtpd_ps(a.v[3]), _mm256_cvtpd_ps(a.v[2]))};
}

#endif

struct AllLanes {};  // the mask that costs nothing
MPQ_INLINE F16 load(const float* p, AllLanes) { return load(p); }
MPQ_INLINE void store(float* p, F16 a, AllLanes) { store(p, a); }

MPQ_INLINE F16 zero() { return set(0.0f); }
MPQ_INLINE F16 absolute(F16 a) { return as_float(bits(a) & seti(0x7fffffff)); }
MPQ_INLINE F16 copy_sign(F16 magnitude, F16 sign) {
  return as_float((bits(magnitude) & seti(0x7fffffff)) | (bits(sign) & seti(INT32_MIN)));
}

// Sum and maximum over the 16 lanes, in one order: halves, quarters, pairs.
MPQ_INLINE float sum_lanes(F16 a) {
  const __m256 s8 = _mm256_add_ps(low_half(a).v, high_half(a).v);
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
MPQ_INLINE float max_lanes(F16 a) {
  const __m256 s8 = _mm256_max_ps(low_half(a).v, high_half(a).v);
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

// Runs body(offset, load, store)-style loops over n values: whole vectors, then one masked one.
// `body(i, mask)` must touch only lanes i ... i + 15 that the mask allows.
template <class Body>
MPQ_INLINE void for_lanes(int64_t n, Body body) {
  const M16 all = first_lanes(16);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) body(i, all);
  if (i < n) body(i, first_lanes(static_cast<int>(n - i)));
}

#include "kernels/isa_end.h"
