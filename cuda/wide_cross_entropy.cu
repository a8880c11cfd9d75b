// Cross-entropy over a vocabulary, a block a row, and its gradient in place of the logits.
#include "cuda/cuda_ops.h"
#include "cuda/last_block.cuh"
#include "cuda/matrices.cuh"
#include "cuda/mma.cuh"

namespace mpq {
namespace {

// Large blocks: few rows at once, so that what a block reads for the second time is still in the L2 cache.
constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarp;

// The sum of e^(x - top) of some values, with their maximum.
struct ExponentialSum {
  float top, sum;

  // Not contracted, so that both sides of an exchange get the same bits.
  __device__ __forceinline__ void join(float other_top, float other_sum) {
    const float larger = fmaxf(top, other_top);
    sum = __fadd_rn(__fmul_rn(sum, expf(top - larger)), __fmul_rn(other_sum, expf(other_top - larger)));
    top = larger;
  }
};

__device__ ExponentialSum warp_join(ExponentialSum s) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2)
    s.join(__shfl_xor_sync(kAllLanes, s.top, offset), __shfl_xor_sync(kAllLanes, s.sum, offset));
  return s;
}

// Every thread gets it.
__device__ ExponentialSum row_sum(const float* x, int classes) {
  constexpr float kNothing = -3.4e38f;
  ExponentialSum mine{kNothing, 0};
  const int fours = aligned(x) ? classes / 4 : 0;
  for (int i = threadIdx.x; i < fours; i += kThreads) {
    const float4 v = reinterpret_cast<const float4*>(x)[i];
    const float top = fmaxf(fmaxf(v.x, v.y), fmaxf(v.z, v.w));
    mine.join(top, expf(v.x - top) + expf(v.y - top) + (expf(v.z - top) + expf(v.w - top)));
  }
  for (int i = fours * 4 + threadIdx.x; i < classes; i += kThreads) mine.join(x[i], 1);
  mine = warp_join(mine);
  __shared__ ExponentialSum warps[kWarps];
  if (lane_id() == 0) warps[warp_id()] = mine;
  __syncthreads();
  return warp_join(warps[lane_id()]);
}

// softmax minus the label, times `scale`; zeros beyond the classes.
struct RowGrad {
  int classes, label;
  float top, factor, scale;

  __device__ __forceinline__ float at(int i, float logit) const {
    return i >= classes ? 0.0f : fmaf(expf(logit - top), factor, i == label ? -scale : 0.0f);
  }
  __device__ __forceinline__ float4 four(int i, float4 v) const {
    return {at(4 * i, v.x), at(4 * i + 1, v.y), at(4 * i + 2, v.z), at(4 * i + 3, v.w)};
  }
};

__device__ void row_grad(const RowGrad& grad, float* x, int columns) {
  const int fours = aligned(x) ? columns / 4 : 0;
  for (int i = threadIdx.x; i < fours; i += kThreads) {
    float4& v = reinterpret_cast<float4*>(x)[i];
    v = grad.four(i, v);
  }
  for (int i = fours * 4 + threadIdx.x; i < columns; i += kThreads) x[i] = grad.at(i, x[i]);
}

// As bf16, in the first half of the row: what the threads write together they have read, and lies before all that they
// read next.
__device__ void narrow_row_grad(const RowGrad& grad, float* x, int columns) {
  for (int first = 0; first < columns / 4; first += kThreads) {
    const int i = first + static_cast<int>(threadIdx.x);
    const bool inside = i < columns / 4;
    const float4 g = inside ? grad.four(i, reinterpret_cast<const float4*>(x)[i]) : float4{};
    __syncthreads();
    if (inside) reinterpret_cast<uint2*>(x)[i] = {to_bf16(g.x, g.y), to_bf16(g.z, g.w)};
  }
}

// Products go through all rows of the bucket.
__device__ void narrow_row_of_zeros(float* x, int columns) {
  for (int i = threadIdx.x; i < columns / 4; i += kThreads) reinterpret_cast<uint2*>(x)[i] = {};
}

// losses [R][rows that the grid is made for]; the last block of a replica adds them: a thread every 1,024th, then the
// threads in a fixed tree.
__device__ void mean_loss(const WideCrossEntropy& op, const float* losses, int rows) {
  __shared__ double warps[kWarps];
  double sum = 0;
  for (int i = threadIdx.x; i < rows; i += kThreads) sum += __ldcg(losses + i);
  sum = warp_sum(sum);
  if (lane_id() == 0) warps[warp_id()] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kWarps; ++w) sum += warps[w];
  op.loss.f32(blockIdx.z)[0] = static_cast<float>(sum / rows);
}

__global__ void __launch_bounds__(kThreads) wide_cross_entropy_kernel(const __grid_constant__ WideCrossEntropy op,
                                                                      bool narrow, float* losses, uint32_t* counters) {
  begin_kernel();
  const int r = blockIdx.z, row = blockIdx.x, rows = rows_of(op.ragged), columns = static_cast<int>(op.logits.cols());
  float* x = op.logits.f32(r) + int64_t{row} * columns;
  if (row >= rows) {
    if (rows == 0 && row == 0 && threadIdx.x == 0) op.loss.f32(r)[0] = 0;
    if (narrow) narrow_row_of_zeros(x, columns);
    return;
  }
  float* of_replica = losses + int64_t{r} * gridDim.x;
  const int label = op.labels[row];
  const float logit = x[label];
  const ExponentialSum s = row_sum(x, static_cast<int>(op.classes));  // waits: everybody has read the label's logit
  if (threadIdx.x == 0) of_replica[row] = logf(s.sum) - (logit - s.top);
  const float scale = 1.0f / static_cast<float>(rows);
  const RowGrad grad{static_cast<int>(op.classes), label, s.top, scale / s.sum, scale};
  if (narrow)
    narrow_row_grad(grad, x, columns);
  else if (op.gradient)
    row_grad(grad, x, columns);
  if (arrives_last(counters + r, rows)) mean_loss(op, of_replica, rows);
}

}  // namespace

Tensor CudaOps::wide_cross_entropy(const WideCrossEntropy& op) {
  const int64_t rows = op.logits.rows(), replicas = op.loss.replicas;
  check(replicas <= Lane::kCounters && rows * replicas * sizeof(float) <= main_.scratch_bytes, "{} rows of {} replicas",
        rows, replicas);
  Tensor gradient = op.gradient ? op.logits : Tensor{};
  const bool narrow = gradient && precision_ == Precision::bf16 && matrices(gradient).vectors;
  if (narrow) gradient.dtype = DType::bf16;
  launch(wide_cross_entropy_kernel, dim3(rows, 1, replicas), kThreads, 0, main_.stream, op, narrow,
         main_.scratch_as<float>(), main_.counters);
  return gradient;
}

}  // namespace mpq
