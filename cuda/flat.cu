// Flat arithmetic, the first rows of sequences, and rows to their places.
#include "cuda/cuda_ops.h"
#include "cuda/row.cuh"

namespace mpq {
namespace {

constexpr int kThreads = 256;
constexpr int kQuads = 2;  // a thread: floats are handled by fours
constexpr int kRows = 4;   // a block: as many warps

dim3 flat_grid(const Tensor& t) { return dim3(ceil_div(t.shape.size(), kThreads * kQuads * 4), 1, t.replicas); }

// four(i): elements i ... i + 3; one(i): element i. Of a block's share of `size` elements, by its threads in turn.
template <class Four, class One>
__device__ __forceinline__ void for_flat(int64_t size, bool by_fours, Four four, One one) {
#pragma unroll
  for (int k = 0; k < kQuads; ++k) {
    const int64_t i = ((int64_t{blockIdx.x} * kQuads + k) * kThreads + threadIdx.x) * 4;
    if (by_fours && i + 4 <= size)
      four(i);
    else
      for (int64_t j = i; j < min(i + 4, size); ++j) one(j);
  }
}

__global__ void __launch_bounds__(kThreads)
    add_kernel(const __grid_constant__ Tensor from, const __grid_constant__ Tensor to) {
  begin_kernel();
  const float* a = from.f32(blockIdx.z);
  float* b = to.f32(blockIdx.z);
  for_flat(
      to.shape.size(), aligned(a) && aligned(b),
      [&](int64_t i) {
        const float4 x = *reinterpret_cast<const float4*>(a + i);
        float4 y = *reinterpret_cast<float4*>(b + i);
        y.x += x.x, y.y += x.y, y.z += x.z, y.w += x.w;
        *reinterpret_cast<float4*>(b + i) = y;
      },
      [&](int64_t i) { b[i] += a[i]; });
}

__global__ void __launch_bounds__(kThreads) fill_kernel(const __grid_constant__ Tensor t, float value) {
  begin_kernel();
  float* to = t.f32(blockIdx.z);
  for_flat(
      t.shape.size(), aligned(to),
      [&](int64_t i) {
        *reinterpret_cast<float4*>(to + i) = {value, value, value, value};
      },
      [&](int64_t i) { to[i] = value; });
}

// A warp a sequence: to its place in `to` of the first rows, from its place in `from`.
template <class Visit>
__device__ __forceinline__ void for_first_rows(const Ragged& ragged, int cols, Visit visit) {
  const int b = blockIdx.x * kRows + warp_id();
  if (b >= ragged.sequences) return;
  const int64_t packed = int64_t{b} * cols, first = int64_t{ragged.starts[b]} * cols;
  for (int column = lane_id(); column < cols; column += kWarp) visit(packed + column, first + column);
}

__global__ void __launch_bounds__(kRows* kWarp) select_first_kernel(const __grid_constant__ SelectFirst op) {
  begin_kernel();
  const bool copy = blockIdx.y > 0;
  const float* x = (copy ? op.xq : op.x).f32(blockIdx.z);
  float* y = (copy ? op.yq : op.y).f32(blockIdx.z);
  for_first_rows(op.ragged, static_cast<int>(op.x.cols()), [&](int64_t to, int64_t from) { y[to] = x[from]; });
}

__global__ void __launch_bounds__(kRows* kWarp) add_to_first_kernel(const __grid_constant__ SelectFirstGrad op) {
  begin_kernel();
  const float* dy = op.dy.f32(blockIdx.z);
  float* dx = op.dx.f32(blockIdx.z);
  for_first_rows(op.ragged, static_cast<int>(op.dx.cols()), [&](int64_t from, int64_t to) { dx[to] += dy[from]; });
}

// A warp a row.
__global__ void __launch_bounds__(kRows* kWarp) spread_first_kernel(const __grid_constant__ SelectFirstGrad op) {
  begin_kernel();
  const int row = blockIdx.x * kRows + warp_id(), cols = static_cast<int>(op.dx.cols());
  if (row >= rows_of(op.ragged)) return;
  const RowPlace place = warp_place_of(op.ragged, row);
  const float* dy = op.dy.f32(blockIdx.z) + int64_t{place.sequence} * cols;
  float* dx = op.dx.f32(blockIdx.z) + int64_t{row} * cols;
  for (int column = lane_id(); column < cols; column += kWarp) dx[column] = place.position == 0 ? dy[column] : 0.0f;
}

// A warp a row.
__global__ void __launch_bounds__(kRows* kWarp) gather_rows_kernel(const __grid_constant__ GatherRows op) {
  begin_kernel();
  const int m = blockIdx.x * kRows + warp_id(), cols = static_cast<int>(op.y.cols());
  if (m >= *op.chosen.count()) return;
  const float* from = op.x.f32(blockIdx.z) + int64_t{op.chosen.rows[m]} * cols;
  float* to = op.y.f32(blockIdx.z) + int64_t{m} * cols;
  for (int column = lane_id(); column < cols; column += kWarp) to[column] = from[column];
}

// A warp a row.
__global__ void __launch_bounds__(kRows* kWarp) scatter_rows_kernel(const __grid_constant__ ScatterRows op) {
  begin_kernel();
  const int u = blockIdx.x * kRows + warp_id(), cols = static_cast<int>(op.to.cols());
  if (u >= *op.count) return;
  const float* from = op.from.f32(blockIdx.z) + int64_t{u} * cols;
  float* to = op.to.f32(blockIdx.z) + int64_t{op.rows[u]} * cols;
  for (int column = lane_id(); column < cols; column += kWarp)
    to[column] = op.accumulate ? to[column] + from[column] : from[column];
}

}  // namespace

void CudaOps::add(const Tensor& from, const Tensor& to) {
  launch(add_kernel, flat_grid(to), kThreads, 0, main_.stream, from, to);
}

void CudaOps::fill(const Tensor& t, float value) {
  launch(fill_kernel, flat_grid(t), kThreads, 0, main_.stream, t, value);
}

void CudaOps::gather_rows(const GatherRows& op) {
  const dim3 grid(ceil_div(op.y.rows(), kRows), 1, op.y.replicas);
  launch(gather_rows_kernel, grid, kRows * kWarp, 0, main_.stream, op);
}

void CudaOps::scatter_rows(const ScatterRows& op) {
  join();  // the side lane makes such rows
  const dim3 grid(ceil_div(op.from.rows(), kRows), 1, op.to.replicas);
  launch(scatter_rows_kernel, grid, kRows * kWarp, 0, main_.stream, op);
}

void CudaOps::select_first(const SelectFirst& op) {
  const dim3 grid(ceil_div(op.ragged.sequences, kRows), op.xq ? 2 : 1, op.y.replicas);
  launch(select_first_kernel, grid, kRows * kWarp, 0, main_.stream, op);
}

void CudaOps::select_first_grad(const SelectFirstGrad& op) {
  const int64_t warps = op.accumulate ? op.ragged.sequences : op.dx.rows();
  const dim3 grid(ceil_div(warps, kRows), 1, op.dx.replicas);
  launch(op.accumulate ? add_to_first_kernel : spread_first_kernel, grid, kRows * kWarp, 0, main_.stream, op);
}

}  // namespace mpq
