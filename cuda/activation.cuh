// What stands between a Linear's product and its output: activation and dropout, and their gradient (kernels/math.h).
#pragma once
#include "cuda/dropout.cuh"

namespace mpq {

// GELU, x Phi(x) with the error function (Hendrycks & Gimpel 2016), and its derivative Phi(x) + x phi(x).
__device__ __forceinline__ float normal_cdf(float x) { return fmaf(erff(x * 0.707106781f), 0.5f, 0.5f); }
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

// What dropout multiplies one element by. Not inlined: models drop out behind a Linear only where rows are few.
static __device__ __noinline__ float dropout_at(const Dropout& dropout, const Ragged& ragged, int replica, int row,
                                                int col) {
  const RowPlace place = place_of(ragged, row);
  return dropout_factor_of(dropout_key(dropout, replica), col, place.position, place.sequence);
}

}  // namespace mpq
