// Gradients through quantizers that are not the identity (tensor/ops.h, QuantizeGrad).
#include "cuda/block_sums.cuh"
#include "cuda/quantize.cuh"

namespace mpq {

namespace {

constexpr int kThreads = 256, kValues = 4;  // values of a thread under way at once
constexpr int kRows = 16;                   // of a block
constexpr int kMostTrained = 3;

// dx in place for `count` values, block-wide; sums[l] += what this thread's values add to the gradients of what the
// format trains.
template <class Rule>
__device__ void chunk_gradient(const Rule& rule, const float* x, float* dx, int64_t count,
                               double (&sums)[kMostTrained]) {
  for (int64_t first = threadIdx.x; first < count; first += kValues * kThreads) {
    float from[kValues], d[kValues];
#pragma unroll
    for (int v = 0; v < kValues; ++v)
      if (first + v * kThreads < count) from[v] = x[first + v * kThreads], d[v] = dx[first + v * kThreads];
#pragma unroll
    for (int v = 0; v < kValues; ++v) {
      if (first + v * kThreads >= count) continue;
      float dtrained[kMostTrained];
      dx[first + v * kThreads] = rule.gradient(from[v], d[v], dtrained);
      for (int l = 0; l < kMostTrained; ++l) sums[l] += dtrained[l];
    }
  }
}

// grid (rows / kRows, 1, R). partial: [R][chunks of the bucket][kMostTrained]; the chunks that are there are summed in
// order, so that the bucket does not matter.
__global__ void __launch_bounds__(kThreads)
    quantize_grad_kernel(const __grid_constant__ QuantizeGrad op, double* partial, uint32_t* counters) {
  begin_kernel();
  const int replica = static_cast<int>(blockIdx.z), chunk = static_cast<int>(blockIdx.x);
  const QuantSpec& spec = spec_of(op.slot, replica);
  const int rows = rows_of(op.ragged), first = chunk * kRows;
  if (first >= rows || gradient_is_identity(spec)) return;
  const int64_t cols = op.x.cols(), count = min(kRows, rows - first) * cols;
  const int64_t offset = first * cols;
  double sums[kMostTrained] = {};
  visit(spec, [&](const auto& format) {
    using F = std::remove_cvref_t<decltype(format)>;
    if constexpr (TrainedFormat<F>) {
      static_assert(F::max_trained == kMostTrained);
      chunk_gradient(format.rule(trained_of(op.slot, replica)), op.x.f32(replica) + offset, op.dx.f32(replica) + offset,
                     count, sums);
    }
  });
  if (!op.dtrained) return;
  double* of_replica = partial + int64_t{replica} * gridDim.x * kMostTrained;
  const int chunks = static_cast<int>(ceil_div(rows, kRows));
  if (!sum_over_blocks(sums, of_replica, chunk, chunks, counters + replica)) return;
  for (int l = 0; l < trained_count(spec); ++l) op.dtrained.f32(replica)[l] += static_cast<float>(sums[l]);
}

}  // namespace

void CudaOps::quantize_grad(const QuantizeGrad& op) {
  const dim3 grid(static_cast<unsigned>(ceil_div(op.ragged.rows, kRows)), 1, static_cast<unsigned>(op.dx.replicas));
  const size_t bytes = sizeof(double) * kMostTrained * grid.x * grid.z;
  check(bytes <= main_.scratch_bytes, "{} bytes of scratch, {} needed", main_.scratch_bytes, bytes);
  check(op.dx.replicas <= Lane::kCounters, "{} replicas", op.dx.replicas);
  launch(quantize_grad_kernel, grid, kThreads, 0, main_.stream, op, main_.scratch_as<double>(), main_.counters);
}

}  // namespace mpq
