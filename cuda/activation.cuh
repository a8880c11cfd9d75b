// What stands between a Linear's product and its output: activation and dropout, and their gradient (kernels/math.h).
#pragma once
#include "cuda/dropout.cuh"

namespace mpq {

// erf by the polynomials of kernels/math.h: |x| <= 1: x + x P(x^2); beyond: 1 - exp(-Q(|x|)). Both are computed: lanes
// of a warp would take both ways anyhow.
__device__ __forceinline__ float erf_of(float x) {
  const float t = fminf(fabsf(x), 4.0f), s = t * t;
  float p = 7.889108908e-05f;
  p = fmaf(p, s, -8.020838101e-04f);
  p = fmaf(p, s, 5.189534983e-03f);
  p = fmaf(p, s, -2.685444441e-02f);
  p = fmaf(p, s, 1.128360017e-01f);
  p = fmaf(p, s, -3.761262714e-01f);
  p = fmaf(p, s, 1.283791659e-01f);
  float q = 1.696179173e-07f;
  q = fmaf(q, t, 1.926449352e-05f);
  q = fmaf(q, t, -4.265157309e-04f);
  q = fmaf(q, t, 4.153810058e-03f);
  q = fmaf(q, t, -2.510182944e-02f);
  q = fmaf(q, t, 1.082785705e-01f);
  q = fmaf(q, t, 6.333327818e-01f);
  q = fmaf(q, t, 1.129527388e+00f);
  q = fmaf(q, t, -1.781293984e-04f);
  return copysignf(t < 1.0f ? fmaf(t, p, t) : 1.0f - expf(-q), x);
}
// GELU, x Phi(x) with the error function (Hendrycks & Gimpel 2016), and its derivative Phi(x) + x phi(x).
__device__ __forceinline__ float normal_cdf(float x) { return fmaf(erf_of(x * 0.707106781f), 0.5f, 0.5f); }
__device__ __forceinline__ float gelu(float x) { return x * normal_cdf(x); }
__device__ __forceinline__ float gelu_slope(float x) {
  return fmaf(x, expf(x * x * -0.5f) * 0.398942280f, normal_cdf(x));
}

struct Activated {
  float y, saved;  // what the gradient needs: gelu its input, tanh its output
};
__device__ __forceinline__ Activated activate(Activation activation, float x) {
  if (activation == Activation::gelu) return {gelu(x), x};
  if (activation == Activation::tanh) x = tanhf(x);
  return {x, x};
}
__device__ __forceinline__ float activation_slope(Activation activation, float saved) {
  if (activation == Activation::gelu) return gelu_slope(saved);
  return activation == Activation::tanh ? fmaf(-saved, saved, 1.0f) : 1.0f;
}
// Of four elements: what is asked of the activation is asked once.
struct ActivatedFour {
  float4 y, saved;
};
__device__ __forceinline__ ActivatedFour activate(Activation activation, float4 x) {
  if (activation == Activation::gelu) return {{gelu(x.x), gelu(x.y), gelu(x.z), gelu(x.w)}, x};
  if (activation == Activation::tanh) x = {tanhf(x.x), tanhf(x.y), tanhf(x.z), tanhf(x.w)};
  return {x, x};
}
__device__ __forceinline__ float4 activation_slope(Activation activation, float4 s) {
  return {activation_slope(activation, s.x), activation_slope(activation, s.y), activation_slope(activation, s.z),
          activation_slope(activation, s.w)};
}

// What dropout multiplies one element by. Not inlined: models drop out behind a Linear only where rows are few.
static __device__ __noinline__ float dropout_at(const Dropout& dropout, const Ragged& ragged, int replica, int row,
                                                int col) {
  const RowPlace place = place_of(ragged, row);
  return dropout_factor_of(dropout_key(dropout, replica), col, place.position,
                           dropout.first + static_cast<uint32_t>(place.sequence));
}

}  // namespace mpq
