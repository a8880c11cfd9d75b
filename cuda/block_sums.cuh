// Sums over many blocks in a fixed order: threads, warps and blocks, each in ascending order or in a fixed tree.
#pragma once
#include "cuda/last_block.cuh"

namespace mpq {

// sums[l] becomes the block's sum, in thread 0. Blocks of at most 1,024 threads, whole warps; all of them call it.
template <int N>
__device__ void block_sum(double (&sums)[N]) {
  __shared__ double of_warp[N][kWarp];
  for (int l = 0; l < N; ++l) {
    sums[l] = warp_sum(sums[l]);
    if (threadIdx.x % kWarp == 0) of_warp[l][threadIdx.x / kWarp] = sums[l];
  }
  __syncthreads();
  for (int l = 0; l < N; ++l) {
    sums[l] = 0;
    for (unsigned w = 0; w < blockDim.x / kWarp; ++w) sums[l] += of_warp[l][w];
  }
  __syncthreads();
}

// sums[l] over all threads of `blocks` blocks, of which this is `block`: true in one thread, of the block that finishes
// last, which then holds the sums. partial: [blocks][N]; *counter is zero before and after.
template <int N>
__device__ bool sum_over_blocks(double (&sums)[N], double* partial, int block, int blocks, uint32_t* counter) {
  block_sum(sums);
  if (threadIdx.x == 0)
    for (int l = 0; l < N; ++l) partial[block * N + l] = sums[l];
  if (!arrives_last(counter, blocks)) return false;
  for (int l = 0; l < N; ++l) {
    sums[l] = 0;
    for (int b = static_cast<int>(threadIdx.x); b < blocks; b += static_cast<int>(blockDim.x))
      sums[l] += __ldcg(&partial[b * N + l]);
  }
  block_sum(sums);
  return threadIdx.x == 0;
}

}  // namespace mpq
