// What is done element by element around the products of wide Linears, each thread four neighbours.
#pragma once
#include "cuda/input_format.cuh"
#include "cuda/linear.cuh"

namespace mpq {

constexpr int kPassThreads = 256;

inline unsigned blocks_of_fours(int64_t elements) {
  return static_cast<unsigned>(ceil_div(elements, kPassThreads * 4));
}
// Of the thread's four neighbouring elements.
__device__ __forceinline__ int64_t first_of_four() { return (int64_t{blockIdx.x} * kPassThreads + threadIdx.x) * 4; }
__device__ __forceinline__ float4& four_at(float* p) { return *reinterpret_cast<float4*>(p); }

// y = activation(from), what its gradient needs, and copies of y. `from` may be y or saved.
static __global__ void __launch_bounds__(kPassThreads)
    activate_kernel(const __grid_constant__ LinearProblem p, const Matrices from,
                    const __grid_constant__ Ragged ragged) {
  begin_kernel();
  const int r = blockIdx.z;
  const int64_t i = first_of_four();
  if (i >= int64_t{rows_of(ragged)} * p.y.cols) return;
  const ActivatedFour a = activate(p.activation, four_at(from.row(r, 0) + i));
  if (p.saved && p.saved.data != from.data) four_at(p.saved.row(r, 0) + i) = a.saved;
  four_at(p.y.row(r, 0) + i) = a.y;
  store_copies(p.copies, r, static_cast<int>(i / p.y.cols), static_cast<int>(i % p.y.cols), a.y);
}

// dx = (accumulate ? dx : 0) + dxq through its format, for rows first ... last - 1.
static __global__ void __launch_bounds__(kPassThreads)
    through_format_kernel(const __grid_constant__ FormatOfInput format, const Matrices dx, bool accumulate, int r,
                          int first, int last, const __grid_constant__ Ragged ragged) {
  begin_kernel();
  const int64_t i = int64_t{first} * dx.cols + first_of_four();
  if (i >= int64_t{min(last, rows_of(ragged))} * dx.cols) return;
  const int row = static_cast<int>(i / dx.cols), col = static_cast<int>(i % dx.cols);
  with_format_gradient(format, r, [&](const auto& gradient) {
    float4 sum = gradient.template four<true>(row, col, load_four<true>(format.dxq, r, row, col));
    if (accumulate) sum = load_four<true>(dx, r, row, col) + sum;
    store_four<true>(dx, r, row, col, sum);
  });
}

// dx *= slope of the activation that made x.
static __global__ void __launch_bounds__(kPassThreads)
    slope_kernel(const Matrices dx, Activation activation, const Matrices saved,
                 const __grid_constant__ Ragged ragged) {
  begin_kernel();
  const int r = blockIdx.z;
  const int64_t i = first_of_four();
  if (i >= int64_t{rows_of(ragged)} * dx.cols) return;
  float4& four = four_at(dx.row(r, 0) + i);
  four = four * activation_slope(activation, four_at(saved.row(r, 0) + i));
}

}  // namespace mpq
