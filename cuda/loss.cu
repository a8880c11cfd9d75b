// Cross-entropy and its gradient, a block a replica, in double: there are few numbers.
#include "cuda/common.cuh"
#include "cuda/cuda_ops.h"

namespace mpq {
namespace {

constexpr int kThreads = 256;

// -sum target log softmax(x) of row b and, where dx is not null, its gradient divided by `divisor`.
__device__ double row_loss(const CrossEntropy& op, int b, const float* x, int classes, double divisor, float* dx) {
  float top = x[0];
  for (int i = 1; i < classes; ++i) top = fmaxf(top, x[i]);
  double sum = 0;
  for (int i = 0; i < classes; ++i) sum += exp(static_cast<double>(x[i]) - top);
  double loss = 0;
  for (int i = 0; i < classes; ++i) {
    const double target = op.target(b, i, classes), x_i = static_cast<double>(x[i]) - top;
    if (target > 0) loss += target * (log(sum) - x_i);
    if (dx) dx[i] = static_cast<float>((exp(x_i) / sum - target) / divisor);
  }
  return loss;
}

__global__ void __launch_bounds__(kThreads) cross_entropy_kernel(const __grid_constant__ CrossEntropy op) {
  begin_kernel();
  __shared__ double warps[kThreads / kWarp];
  const int r = blockIdx.z, rows = static_cast<int>(op.logits.rows()), classes = static_cast<int>(op.logits.cols());
  const auto divisor = static_cast<double>(op.divisor());
  double sum = 0;
  for (int b = threadIdx.x; b < rows; b += kThreads) {
    const int64_t at = int64_t{b} * classes;
    sum += row_loss(op, b, op.logits.f32(r) + at, classes, divisor, op.dlogits ? op.dlogits.f32(r) + at : nullptr);
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
