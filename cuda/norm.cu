// Residual + dropout + LayerNorm, a warp a row.
#include "cuda/norm.cuh"

#include "cuda/column_sums.cuh"
#include "cuda/cuda_ops.h"
#include "cuda/last_block.cuh"

namespace mpq {
namespace {

constexpr int kRows = 4;        // a block: as many warps
constexpr int kChunkRows = 64;  // a sum over rows

template <int kGroups, bool kCopies>
__global__ void __launch_bounds__(kRows* kWarp, kBlocks<kGroups>)
    residual_norm_kernel(const __grid_constant__ ResidualNorm op, uint32_t* counters) {
  begin_kernel();
  const int r = blockIdx.z, row = blockIdx.x * kRows + warp_id(), cols = static_cast<int>(op.x.cols());
  if (row >= rows_of(op.ragged)) return;
  const int64_t at = int64_t{row} * cols;
  Row<kGroups> s, residual = {};
  s.load(op.y.f32(r) + at, cols);
  if (op.residual) residual.load(op.residual.f32(r) + at, cols);
  if (op.dropout.p > 0) {
    const RowPlace place = warp_place_of(op.ragged, row);
    s.drop(dropout_key(op.dropout, r), cols, place.position, op.dropout.first + place.sequence);
  }
#pragma unroll
  for (int i = 0; i < 4 * kGroups; ++i) s.value[i] += residual.value[i];
  s.store(op.sum.f32(r) + at, cols);
  const RowStats stats = row_stats(s, cols, op.epsilon);
  if (lane_id() == 0) op.mean.f32(r)[row] = stats.mean, op.rstd.f32(r)[row] = stats.rstd;
  standardize(s, stats);
  scale_and_shift(s, op.gamma.f32(r), op.beta.f32(r), cols);
  s.store(op.x.f32(r) + at, cols);
  if constexpr (kCopies) quantize_row_copies(op.quantized, s, op.x.f32(r), r, row, cols, op.ragged, counters);
}

template <int kGroups>
__global__ void __launch_bounds__(kRows* kWarp) residual_norm_grad_kernel(const __grid_constant__ ResidualNormGrad op) {
  begin_kernel();
  const ResidualNorm& f = op.forward;
  const int r = blockIdx.z, row = blockIdx.x * kRows + warp_id(), cols = static_cast<int>(f.x.cols());
  if (row >= rows_of(f.ragged)) return;
  const int64_t at = int64_t{row} * cols;
  Row<kGroups> d, s;
  d.load(op.dx.f32(r) + at, cols);
  s.load(f.sum.f32(r) + at, cols);
  const RowStats stats{f.mean.f32(r)[row], f.rstd.f32(r)[row]};
  standardize(s, stats);
  layer_norm_grad(d, s, stats.rstd, f.gamma.f32(r), cols);
  if (op.dresidual) d.store(op.dresidual.f32(r) + at, cols);
  if (f.dropout.p > 0) {
    const RowPlace place = warp_place_of(f.ragged, row);
    d.drop(dropout_key(f.dropout, r), cols, place.position, f.dropout.first + place.sequence);
  }
  d.store(op.dy.f32(r) + at, cols);
}

// dgamma, dbeta: sums [R][chunk][dgamma | dbeta], one block a chunk and 32 columns; the last one adds the chunks.
__global__ void __launch_bounds__(kSumRows* kWarp)
    norm_columns_kernel(const __grid_constant__ ResidualNormGrad op, float* sums, uint32_t* counters) {
  begin_kernel();
  const ResidualNorm& f = op.forward;
  const int rows = rows_of(f.ragged), chunks = (rows + kChunkRows - 1) / kChunkRows, chunk = blockIdx.x;
  if (chunk >= chunks) return;
  const int r = blockIdx.z, cols = static_cast<int>(f.x.cols()), column = blockIdx.y * kWarp + threadIdx.x;
  const float *dx = op.dx.f32(r), *s = f.sum.f32(r), *mean = f.mean.f32(r), *rstd = f.rstd.f32(r);
  float dgamma = 0, dbeta = 0;
#pragma unroll
  for (int k = 0; k < kChunkRows / kSumRows; ++k) {
    const int row = chunk * kChunkRows + k * kSumRows + threadIdx.y;
    if (row >= rows || column >= cols) continue;
    const int64_t at = int64_t{row} * cols + column;
    dgamma = fmaf(dx[at], (s[at] - mean[row]) * rstd[row], dgamma);
    dbeta += dx[at];
  }
  const double dgamma_chunk = sum_over_y(dgamma), dbeta_chunk = sum_over_y(dbeta);
  float* all = sums + int64_t{r} * gridDim.x * 2 * cols;
  if (threadIdx.y == 0 && column < cols) {
    float* to = all + int64_t{chunk} * 2 * cols + column;
    to[0] = static_cast<float>(dgamma_chunk), to[cols] = static_cast<float>(dbeta_chunk);
  }
  if (!arrives_last(counters + r * gridDim.y + blockIdx.y, chunks)) return;
  const double dgamma_sum = sum_of_chunks(all, chunks, 2 * cols, column);
  const double dbeta_sum = sum_of_chunks(all, chunks, 2 * cols, cols + column);
  if (threadIdx.y != 0 || column >= cols) return;
  op.dgamma.f32(r)[column] = static_cast<float>(dgamma_sum);
  op.dbeta.f32(r)[column] = static_cast<float>(dbeta_sum);
}

void norm_columns(const ResidualNormGrad& op, const Lane& lane) {
  const int64_t cols = op.forward.x.cols(), chunks = ceil_div(op.forward.x.rows(), kChunkRows);
  const int replicas = op.forward.x.replicas;
  const dim3 grid(chunks, ceil_div(cols, kWarp), replicas);
  const size_t bytes = replicas * chunks * 2 * cols * sizeof(float);
  check(bytes <= lane.scratch_bytes, "scratch of {} bytes for {}", lane.scratch_bytes, bytes);
  check(grid.y * grid.z <= Lane::kCounters, "{} counters", grid.y * grid.z);
  launch(norm_columns_kernel, grid, dim3(kWarp, kSumRows), 0, lane.stream, op, lane.scratch_as<float>(), lane.counters);
}

}  // namespace

void CudaOps::residual_norm(const ResidualNorm& op) {
  const dim3 grid(ceil_div(op.x.rows(), kRows), 1, op.x.replicas);
  for_width(op.x.cols(), [&](auto groups) {
    const auto kernel =
        op.quantized.count > 0 ? &residual_norm_kernel<groups(), true> : &residual_norm_kernel<groups(), false>;
    launch(kernel, grid, kRows * kWarp, 0, main_.stream, op, sequence_counters(op.quantized, op.ragged, main_));
  });
  quantize_sequence_copies(op.quantized, op.x, op.ragged, main_);
}

void CudaOps::residual_norm_grad(const ResidualNormGrad& op) {
  const ResidualNorm& f = op.forward;
  if (op.dgamma) norm_columns(op, fork());  // beside the rows: both only read dx and the sum
  const dim3 grid(ceil_div(f.x.rows(), kRows), 1, f.x.replicas);
  for_width(f.x.cols(), [&](auto groups) {
    launch(residual_norm_grad_kernel<groups()>, grid, kRows * kWarp, 0, main_.stream, op);
  });
}

}  // namespace mpq
