// Sums over the rows of a batch that were left in memory by chunks of rows, added in their order.
#pragma once
#include <algorithm>
#include <span>

#include "cuda/linear.cuh"

namespace mpq {

// total = (accumulate ? total : 0) + the sums of chunks of rows from `first` on, in their order. Sizes are multiples of
// four.
struct ChunkSums {
  const float* sums;  // [replicas][chunks][size]
  float* total;
  int64_t size, stride = 0;  // of the total; from one replica's total to the next
  int chunks, rows, first = 0;
  bool accumulate = false;
};
struct ChunkSumsArgs {
  Ragged ragged;
  ChunkSums of[2 * kMostLinears] = {};
};

#ifdef __CUDACC__

constexpr int kChunkSumsThreads = 256;

static __global__ void __launch_bounds__(kChunkSumsThreads)
    add_chunks_kernel(const __grid_constant__ ChunkSumsArgs args) {
  begin_kernel();
  const ChunkSums& c = args.of[blockIdx.y];
  const int64_t i = (int64_t{blockIdx.x} * kChunkSumsThreads + threadIdx.x) * 4;
  if (i >= c.size) return;
  const float* sums = c.sums + blockIdx.z * c.chunks * c.size + i;
  float4* to = reinterpret_cast<float4*>(c.total + blockIdx.z * c.stride + i);
  const int there = min(c.chunks, (rows_of(args.ragged) - c.first + c.rows - 1) / c.rows);
  float4 total = c.accumulate ? *to : float4{};
  constexpr int kAtOnce = 8;  // on their way from memory
  for (int chunk = 0; chunk < there; chunk += kAtOnce) {
    float4 sum[kAtOnce];
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (chunk + k < there) sum[k] = *reinterpret_cast<const float4*>(sums + (chunk + k) * c.size);
#pragma unroll
    for (int k = 0; k < kAtOnce; ++k)
      if (chunk + k < there) total = total + sum[k];
  }
  *to = total;
}
inline void add_chunks(const Ragged& ragged, std::span<const ChunkSums> sums, int replicas, cudaStream_t stream) {
  ChunkSumsArgs args{.ragged = ragged};
  std::copy(sums.begin(), sums.end(), args.of);
  int64_t size = 0;
  for (const ChunkSums& s : sums) size = std::max(size, s.size);
  const auto blocks = static_cast<unsigned>(ceil_div(size, kChunkSumsThreads * 4));
  launch(add_chunks_kernel, dim3(blocks, static_cast<unsigned>(sums.size()), replicas), kChunkSumsThreads, 0, stream,
         args);
}

#endif

}  // namespace mpq
