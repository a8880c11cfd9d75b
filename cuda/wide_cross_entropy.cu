// Cross-entropy over a vocabulary, a block a row, and its gradient in place of the logits.
#include "cuda/cuda_ops.h"
#include "cuda/last_block.cuh"

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
__device__ void row_grad(const WideCrossEntropy& op, float* x, int label, const ExponentialSum& s, float scale) {
  const int classes = static_cast<int>(op.classes), columns = static_cast<int>(op.logits.cols());
  const float factor = scale / s.sum;
  const auto at = [&](int i, float logit) {
    return i >= classes ? 0.0f : fmaf(expf(logit - s.top), factor, i == label ? -scale : 0.0f);
  };
  const int fours = aligned(x) ? columns / 4 : 0;
  for (int i = threadIdx.x; i < fours; i += kThreads) {
    float4* to = reinterpret_cast<float4*>(x) + i;
    const float4 v = *to;
    *to = {at(4 * i, v.x), at(4 * i + 1, v.y), at(4 * i + 2, v.z), at(4 * i + 3, v.w)};
  }
  for (int i = fours * 4 + threadIdx.x; i < columns; i += kThreads) x[i] = at(i, x[i]);
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

__global__ void __launch_bounds__(kThreads)
    wide_cross_entropy_kernel(const __grid_constant__ WideCrossEntropy op, float* losses, uint32_t* counters) {
  begin_kernel();
  const int r = blockIdx.z, row = blockIdx.x, rows = rows_of(op.ragged);
  if (row >= rows) {
    if (rows == 0 && row == 0 && threadIdx.x == 0) op.loss.f32(r)[0] = 0;
    return;
  }
  float* x = op.logits.f32(r) + int64_t{row} * op.logits.cols();
  float* of_replica = losses + int64_t{r} * gridDim.x;
  const int label = op.labels[row];
  const float logit = x[label];
  const ExponentialSum s = row_sum(x, static_cast<int>(op.classes));  // waits: everybody has read the label's logit
  if (threadIdx.x == 0) of_replica[row] = logf(s.sum) - (logit - s.top);
  if (op.gradient) row_grad(op, x, label, s, 1.0f / static_cast<float>(rows));
  if (arrives_last(counters + r, rows)) mean_loss(op, of_replica, rows);
}

}  // namespace

void CudaOps::wide_cross_entropy(const WideCrossEntropy& op) {
  const int64_t rows = op.logits.rows(), replicas = op.loss.replicas;
  check(replicas <= Lane::kCounters && rows * replicas * sizeof(float) <= main_.scratch_bytes, "{} rows of {} replicas",
        rows, replicas);
  launch(wide_cross_entropy_kernel, dim3(rows, 1, replicas), kThreads, 0, main_.stream, op, main_.scratch_as<float>(),
         main_.counters);
}

}  // namespace mpq
