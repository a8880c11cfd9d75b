// Embeddings: word + position + type, LayerNorm, dropout; and the gradients of the three tables.
#include "cuda/embed.cuh"

#include "cuda/cuda_ops.h"
#include "cuda/norm.cuh"

namespace mpq {
namespace {

constexpr int kRows = 4;        // a block of the forward: as many warps
constexpr int kChunkRows = 16;  // a block of the gradient, and a sum over rows: as many warps

template <int kGroups, bool kCopies>
__global__ void __launch_bounds__(kRows* kWarp, kBlocks<kGroups>)
    embed_kernel(const __grid_constant__ Embed op, uint32_t* counters) {
  begin_kernel();
  const int r = blockIdx.z, row = blockIdx.x * kRows + warp_id(), cols = static_cast<int>(op.x.cols());
  if (row >= rows_of(op.ragged)) return;
  const int64_t at = int64_t{row} * cols, token = op.tokens[row];
  const RowPlace place = warp_place_of(op.ragged, row);
  Row<kGroups> s, type, position;
  s.load(op.word.f32(r) + token * cols, cols);
  type.load(op.type.f32(r), cols);
  position.load(op.position.f32(r) + int64_t{place.position} * cols, cols);
#pragma unroll
  for (int i = 0; i < 4 * kGroups; ++i) s.value[i] = s.value[i] + type.value[i] + position.value[i];
  s.store(op.sum.f32(r) + at, cols);
  const RowStats stats = row_stats(s, cols, op.epsilon);
  if (lane_id() == 0) op.mean.f32(r)[row] = stats.mean, op.rstd.f32(r)[row] = stats.rstd;
  standardize(s, stats);
  scale_and_shift(s, op.gamma.f32(r), op.beta.f32(r), cols);
  s.drop(dropout_key(op.dropout, r), cols, place.position, op.dropout.first + place.sequence);
  s.store(op.x.f32(r) + at, cols);
  if constexpr (kCopies) quantize_row_copies(op.quantized, s, op.x.f32(r), r, row, cols, op.ragged, counters);
}

// Sum over the rows of a block; `rows` [kChunkRows][cols] is its shared memory. Every thread must call.
template <int kGroups>
__device__ __forceinline__ void sum_chunk(const Row<kGroups>& row, float* rows, int cols, float* to) {
  row.store(rows + warp_id() * cols, cols);
  __syncthreads();
  for (int column = threadIdx.x; column < cols; column += kChunkRows * kWarp) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kChunkRows; ++i) sum += rows[i * cols + column];
    to[column] = sum;
  }
  __syncthreads();
}

// dx becomes the gradient of the sum; sums [R][chunk][dgamma | dbeta | dtype].
template <int kGroups>
__global__ void __launch_bounds__(kChunkRows* kWarp)
    embed_rows_grad_kernel(const __grid_constant__ EmbedGrad op, float* sums) {
  begin_kernel();
  extern __shared__ float shared[];
  const Embed& f = op.forward;
  const int r = blockIdx.z, rows = rows_of(f.ragged), cols = static_cast<int>(f.x.cols());
  const int row = blockIdx.x * kChunkRows + warp_id();
  if (blockIdx.x * kChunkRows >= rows) return;
  float* to = sums + (int64_t{r} * gridDim.x + blockIdx.x) * 3 * cols;
  Row<kGroups> d{}, xhat{};
  if (row < rows) {
    d.load(op.dx.f32(r) + int64_t{row} * cols, cols);
    xhat.load(f.sum.f32(r) + int64_t{row} * cols, cols);
    standardize(xhat, {f.mean.f32(r)[row], f.rstd.f32(r)[row]});
    if (f.dropout.p > 0) {
      const RowPlace place = warp_place_of(f.ragged, row);
      d.drop(dropout_key(f.dropout, r), cols, place.position, f.dropout.first + place.sequence);
    }
  }
  Row<kGroups> dgamma;
#pragma unroll
  for (int i = 0; i < 4 * kGroups; ++i) dgamma.value[i] = d.value[i] * xhat.value[i];
  sum_chunk(dgamma, shared, cols, to);
  sum_chunk(d, shared, cols, to + cols);
  if (row < rows) {
    layer_norm_grad(d, xhat, f.rstd.f32(r)[row], f.gamma.f32(r), cols);
    d.store(op.dx.f32(r) + int64_t{row} * cols, cols);
  }
  sum_chunk(d, shared, cols, to + 2 * cols);
}

}  // namespace

void CudaOps::embed(const Embed& op) {
  const dim3 grid(ceil_div(op.x.rows(), kRows), 1, op.x.replicas);
  for_width(op.x.cols(), [&](auto groups) {
    const auto kernel = op.quantized.count > 0 ? &embed_kernel<groups(), true> : &embed_kernel<groups(), false>;
    launch(kernel, grid, kRows * kWarp, 0, main_.stream, op, sequence_counters(op.quantized, op.ragged, main_));
  });
  quantize_sequence_copies(op.quantized, op.x, op.ragged, main_);
}

void CudaOps::embed_grad(const EmbedGrad& op) {
  const Tensor& x = op.forward.x;
  const int64_t cols = x.cols(), chunks = ceil_div(x.rows(), kChunkRows);
  const size_t bytes = x.replicas * chunks * 3 * cols * sizeof(float);
  check(bytes <= main_.scratch_bytes, "scratch of {} bytes for {}", main_.scratch_bytes, bytes);
  const ChunkSums sums{main_.scratch_as<float>(), kChunkRows, chunks};
  for_width(cols, [&](auto groups) {
    launch(embed_rows_grad_kernel<groups()>, dim3(chunks, 1, x.replicas), kChunkRows * kWarp,
           kChunkRows * cols * sizeof(float), main_.stream, op, sums.data);
  });
  embed_tables_grad(op, sums, main_.stream);
}

}  // namespace mpq
