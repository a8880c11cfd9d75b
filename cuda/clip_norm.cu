// The norm of all gradients: sums of squares of chunks, which the last block adds in ascending order.
#include "cuda/cuda_ops.h"
#include "cuda/last_block.cuh"
#include "cuda/ranges.cuh"

namespace mpq {
namespace {

constexpr int kThreads = 256;
constexpr int kChunk = 4096;

// Blocks of all launches of one op: chunks of the ranges, then chunks of the compact rows, of which the last may not be
// there.
struct SquareSums {
  Chunks chunks;     // of this launch
  int first;         // block of all
  int dense, total;  // blocks of the ranges, of all
  Tensor flat, rows;
  const int32_t* row_count;
  float limit;
  Tensor norm, scale;
  double* sums;  // [R][total]
  uint32_t* counters;
};

__device__ double block_sum(double x) {
  __shared__ double warps[kThreads / kWarp];
  x = warp_sum(x);
  __syncthreads();
  if (lane_id() == 0) warps[warp_id()] = x;
  __syncthreads();
  double sum = 0;
  for (double w : warps) sum += w;
  return sum;
}

__device__ double square_sum(const float* g, int length) {
  float sum = 0;
  if (length == kChunk && aligned(g)) {
#pragma unroll
    for (int k = 0; k < kChunk / kThreads / 4; ++k) {
      const float4 x = reinterpret_cast<const float4*>(g)[k * kThreads + threadIdx.x];
      sum = fmaf(x.x, x.x, fmaf(x.y, x.y, fmaf(x.z, x.z, fmaf(x.w, x.w, sum))));
    }
  } else {
    for (int i = threadIdx.x; i < length; i += kThreads) sum = fmaf(g[i], g[i], sum);
  }
  return block_sum(sum);
}

__device__ int64_t row_values(const SquareSums& op) { return op.rows ? *op.row_count * op.rows.cols() : 0; }

__device__ double chunk_sum(const SquareSums& op, int block) {
  const int r = blockIdx.z;
  if (block < op.chunks.count) {
    const Chunks::Chunk chunk = op.chunks.chunk(block);
    return square_sum(op.flat.f32(r) + chunk.begin, chunk.length);
  }
  const int64_t begin = int64_t{block - op.chunks.count} * kChunk, left = row_values(op) - begin;
  return left > 0 ? square_sum(op.rows.f32(r) + begin, static_cast<int>(min(left, int64_t{kChunk}))) : 0.0;
}

__global__ void __launch_bounds__(kThreads) clip_norm_kernel(const __grid_constant__ SquareSums op) {
  begin_kernel();
  const int r = blockIdx.z;
  double* sums = op.sums + int64_t{r} * op.total;
  const double mine = chunk_sum(op, blockIdx.x);
  if (threadIdx.x == 0) sums[op.first + blockIdx.x] = mine;
  if (!arrives_last(op.counters + r, op.total)) return;
  const int there = op.dense + static_cast<int>(ceil_div(row_values(op), kChunk));
  double part = 0;
#pragma unroll 4
  for (int i = threadIdx.x; i < there; i += kThreads) part += __ldcg(sums + i);
  const float norm = static_cast<float>(sqrt(block_sum(part)));
  if (threadIdx.x != 0) return;
  const float scale = op.limit / (norm + 1e-6f);
  op.norm.f32(r)[0] = norm;
  op.scale.f32(r)[0] = op.limit > 0 && scale < 1 ? scale : 1.0f;
}

int blocks_of(std::span<const ParameterRange> ranges) {
  int64_t blocks = 0;
  for (const ParameterRange& range : ranges) blocks += ceil_div(range.end - range.begin, kChunk);
  return static_cast<int>(blocks);
}

}  // namespace

void CudaOps::clip_norm(const ClipNorm& op) {
  join();
  const int row_blocks = op.rows ? static_cast<int>(ceil_div(op.rows.shape.size(), kChunk)) : 0;
  const int dense = blocks_of(op.ranges), total = dense + row_blocks, replicas = op.norm.replicas;
  const size_t bytes = sizeof(double) * replicas * total;
  check(bytes <= main_.scratch_bytes && replicas <= Lane::kCounters, "scratch of {} bytes for {}", main_.scratch_bytes,
        bytes);
  int first = 0;
  for_chunks(op.ranges, kChunk, [&](const Chunks& chunks) {
    const bool is_last = first + chunks.count == dense;
    const dim3 grid(chunks.count + (is_last ? row_blocks : 0), 1, replicas);
    const SquareSums sums{chunks,
                          first,
                          dense,
                          total,
                          op.flat,
                          op.rows,
                          op.row_count,
                          op.limit,
                          op.norm,
                          op.scale,
                          main_.scratch_as<double>(),
                          main_.counters};
    launch(clip_norm_kernel, grid, kThreads, 0, main_.stream, sums);
    first += static_cast<int>(grid.x);
  });
}

}  // namespace mpq
