// exp, erf, tanh and GELU on 16 lanes: own polynomials, so every machine gets the same bits. The worst errors seen over
// all floats of the stated range stand beside each function and are asserted by tests/math_test.cpp.
#pragma once
#include "kernels/simd.h"

#include "kernels/isa_begin.h"

// e^x, error < 1.0 ulp for -87 <= x <= 88; below -87 it is e^-87, above 88 e^88 (callers never need more).
MPQ_INLINE F16 exp(F16 x) {
  x = min(max(x, set(-87.0f)), set(88.0f));
  const F16 n = rint(x * set(1.44269504f));
  F16 r = fma(n, set(-0.693359375f), x);  // ln 2 in two parts (Cody and Waite)
  r = fma(n, set(2.12194440e-4f), r);
  F16 p = set(1.9875691500e-4f);  // Cephes expf: minimax on [-ln 2 / 2, ln 2 / 2]
  p = fma(p, r, set(1.3981999507e-3f));
  p = fma(p, r, set(8.3334519073e-3f));
  p = fma(p, r, set(4.1665795894e-2f));
  p = fma(p, r, set(1.6666665459e-1f));
  p = fma(p, r, set(5.0000001201e-1f));
  p = fma(p, r * r, r) + set(1.0f);
  return as_float(bits(p) + shift_left<23>(to_int(n)));
}

// erf, error < 1.5 ulp. |x| <= 1: x + x P(x^2); beyond: 1 - exp(-Q(|x|)), Q fitted to -log erfc on [0.95, 4].
MPQ_INLINE F16 erf(F16 x) {
  const F16 t = min(absolute(x), set(4.0f));
  const F16 s = t * t;
  F16 p = set(7.889108908e-05f);
  p = fma(p, s, set(-8.020838101e-04f));
  p = fma(p, s, set(5.189534983e-03f));
  p = fma(p, s, set(-2.685444441e-02f));
  p = fma(p, s, set(1.128360017e-01f));
  p = fma(p, s, set(-3.761262714e-01f));
  p = fma(p, s, set(1.283791659e-01f));
  const F16 near = fma(t, p, t);
  F16 q = set(1.696179173e-07f);
  q = fma(q, t, set(1.926449352e-05f));
  q = fma(q, t, set(-4.265157309e-04f));
  q = fma(q, t, set(4.153810058e-03f));
  q = fma(q, t, set(-2.510182944e-02f));
  q = fma(q, t, set(1.082785705e-01f));
  q = fma(q, t, set(6.333327818e-01f));
  q = fma(q, t, set(1.129527388e+00f));
  q = fma(q, t, set(-1.781293984e-04f));
  const F16 far = set(1.0f) - exp(zero() - q);
  return copy_sign(select(less(t, set(1.0f)), near, far), x);
}

// tanh, error < 2 ulp. |x| < 0.6: x + x^3 P(x^2); beyond: 1 - 2 / (e^2|x| + 1).
MPQ_INLINE F16 tanh(F16 x) {
  const F16 t = min(absolute(x), set(10.0f));
  const F16 s = t * t;
  F16 p = set(2.376265710e-03f);
  p = fma(p, s, set(-8.415029647e-03f));
  p = fma(p, s, set(2.178988765e-02f));
  p = fma(p, s, set(-5.396175372e-02f));
  p = fma(p, s, set(1.333331378e-01f));
  p = fma(p, s, set(-3.333333324e-01f));
  const F16 near = fma(t * s, p, t);
  const F16 far = set(1.0f) - set(2.0f) / (exp(t + t) + set(1.0f));
  return copy_sign(select(less(t, set(0.6f)), near, far), x);
}

// GELU, x Phi(x) with the error function (Hendrycks & Gimpel 2016), and its derivative Phi(x) + x phi(x).
MPQ_INLINE F16 normal_cdf(F16 x) { return fma(erf(x * set(0.707106781f)), set(0.5f), set(0.5f)); }
MPQ_INLINE F16 gelu(F16 x) { return x * normal_cdf(x); }
MPQ_INLINE F16 gelu_slope(F16 x) {
  const F16 density = exp(x * x * set(-0.5f)) * set(0.398942280f);
  return fma(x, density, normal_cdf(x));
}

#include "kernels/isa_end.h"
