// Cross-entropy and its gradient, a block a replica, in double: there are few numbers.
#include "cuda/common.cuh"
#include "cuda/cuda_ops.h"

namespace mpq {
namespace {

constexpr int kThreads = 256;

// -log softmax(x)[label] and, where dx is not null, its gradient divided by `divisor`.
__device__ double row_loss(const float* x, int classes, int label, double divisor, float* dx) {
  float top = x[0];
  for (int i = 1; i < classes; ++i) top = fmaxf(top, x[i]);
  double sum = 0;
  for (int i = 0; i < classes; ++i) sum += exp(static_cast<double>(x[i]) - top);
  if (dx)
    for (int i = 0; i < classes; ++i)
      dx[i] = static_cast<float>((exp(static_cast<double>(x[i]) - top) / sum - (i == label)) / divisor);
  return log(sum) - (static_cast<double>(x[label]) - top);
}

__global__ void __launch_bounds__(kThreads) cross_entropy_kernel(const __grid_constant__ CrossEntropy op) {
  begin_kernel();
  __shared__ double warps[kThreads / kWarp];
  const int r = blockIdx.z, rows = static_cast<int>(op.logits.rows()), classes = static_cast<int>(op.logits.cols());
  const auto divisor = static_cast<double>(op.divisor());
  double sum = 0;
  for (int b = threadIdx.x; b < rows; b += kThreads) {
    const int64_t at = int64_t{b} * classes;
    sum +=
        row_loss(op.logits.f32(r) + at, classes, op.labels[b], divisor, op.dlogits ? op.dlogits.f32(r) + at : nullptr);
  }
  sum = warp_sum(sum);
  if (lane_id() == 0) warps[warp_id()] = sum;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int w = 1; w < kThreads / kWarp; ++w) sum += warps[w];
  op.loss.f32(r)[0] = static_cast<float>(sum / divisor);
}

}  // namespace

void CudaOps::cross_entropy(const CrossEntropy& op) {
  launch(cross_entropy_kernel, dim3(1, 1, op.loss.replicas), kThreads, 0, main_.stream, op);
}

}  // namespace mpq
