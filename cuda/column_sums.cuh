// Sums of columns over all rows of a batch (gradients of LayerNorm's parameters). Rows are summed in chunks from row 0,
// sums [chunk][width]; then the chunks. The order depends on the number of rows only. Blocks are of kWarp columns (x)
// by kSumRows (y); every thread of a block must call.
#pragma once
#include "cuda/common.cuh"

namespace mpq {

constexpr int kSumRows = 8;

#ifdef __CUDACC__

// Over y, in ascending order; for threads of y = 0.
__device__ __forceinline__ double sum_over_y(double part) {
  __shared__ double parts[kSumRows][kWarp];
  __syncthreads();
  parts[threadIdx.y][threadIdx.x] = part;
  __syncthreads();
  double sum = 0;
  if (threadIdx.y == 0)
    for (int y = 0; y < kSumRows; ++y) sum += parts[y][threadIdx.x];
  return sum;
}

__device__ __forceinline__ double sum_of_chunks(const float* sums, int chunks, int width, int column) {
  double part = 0;
  if (column < width) {
#pragma unroll 8
    for (int chunk = threadIdx.y; chunk < chunks; chunk += kSumRows)
      part += __ldcg(sums + static_cast<int64_t>(chunk) * width + column);
  }
  return sum_over_y(part);
}

#endif

}  // namespace mpq
