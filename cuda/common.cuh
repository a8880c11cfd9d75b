// What every kernel file of the CUDA backend shares: error checks, launches, and small device functions.
// The replica is the outermost grid dimension everywhere (blockIdx.z). Grids are sized for a bucket (tensor/device.h):
// a block that has no rows in the batch at hand leaves at once. Sums have a fixed order: no float atomics.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <utility>

#include "base/error.h"
#include "tensor/ops.h"

namespace mpq {

// cuda/check.cu: out of memory, a lost GPU and a fault inside a kernel are UserErrors, the rest InternalErrors.
void check_cuda(cudaError_t status, const char* what);

// The runtime remembers a current device for each thread. Every way into a CudaDevice calls this, so that no thread
// belongs to a device.
void make_current(int device);

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFFu;

HD bool aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; }
HD int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Whether this GPU starts a kernel's blocks while the one before it still ends (compute capability 9.0).
bool launches_early();

// More than 48 KB of shared memory a block, a kernel's own arrays included, must be asked for. Those are small.
constexpr size_t kUnaskedSharedBytes = size_t{32} << 10;

// kernel<<<grid, block, shared_bytes, stream>>>(args...), checked; shared_bytes is of the dynamic memory. The kernel
// begins with begin_kernel().
template <class... Parameters, class... Args>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            Args&&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared_bytes > kUnaskedSharedBytes)
    check_cuda(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_bytes)),
               "shared memory");
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid, config.blockDim = block, config.dynamicSmemBytes = shared_bytes, config.stream = stream;
  config.attrs = &early, config.numAttrs = launches_early() ? 1 : 0;
  check_cuda(cudaLaunchKernelEx(&config, kernel, Parameters(std::forward<Args>(args))...), "kernel launch");
}

#ifdef __CUDACC__

__device__ __forceinline__ int lane_id() { return static_cast<int>(threadIdx.x % kWarp); }
__device__ __forceinline__ int warp_id() { return static_cast<int>(threadIdx.x / kWarp); }

// The first statement of every kernel: waits until everything before it is done and visible. A kernel is launched
// while the one before it ends ("programmatic dependent launch"), which hides a part of the launch's latency. Letting
// blocks come earlier still (cudaTriggerProgrammaticLaunchCompletion) was slower: they take room from the side lane.
__device__ __forceinline__ void begin_kernel() {
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}

// Every lane gets the sum; lanes are added in a fixed tree.
__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}
__device__ __forceinline__ double warp_sum(double x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, offset));
  return x;
}

// Rows that are there, of the rows the grid is made for.
__device__ __forceinline__ int rows_of(const Ragged& ragged) { return ragged.starts[ragged.sequences]; }

struct RowPlace {
  int sequence, position;
};
// Of a row that is there: the last sequence that starts at or before it.
__device__ __forceinline__ RowPlace place_of(const Ragged& ragged, int row) {
  int low = 0, high = ragged.sequences;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (ragged.starts[middle] <= row)
      low = middle;
    else
      high = middle;
  }
  return {low, row - ragged.starts[low]};
}

#endif

}  // namespace mpq
