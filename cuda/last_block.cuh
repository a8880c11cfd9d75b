// Sums over blocks without float atomics: each block leaves its part in memory, and the one that finishes last adds
// them in a fixed order.
#pragma once
#include "cuda/common.cuh"

namespace mpq {

#ifdef __CUDACC__

// True in all threads of the block that calls last of `blocks`, which then sees what the others wrote before they
// called. Leaves the counter zero.
__device__ __forceinline__ bool arrives_last(uint32_t* counter, uint32_t blocks) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0 && threadIdx.y == 0) last = atomicInc(counter, blocks - 1) == blocks - 1;
  __syncthreads();
  __threadfence();
  return last;
}

#endif

}  // namespace mpq
