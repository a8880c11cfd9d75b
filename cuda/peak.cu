#include "cuda/peak.h"

#include "cuda/mma.cuh"
#include "cuda/tf32.cuh"

namespace mpq {
namespace {

constexpr int kThreads = 256, kBlocks = 2;  // of a multiprocessor: four warps for each of its tensor cores
constexpr int kChains = 8;  // independent sums of a warp: four warps of them cover an instruction's latency
constexpr int kRounds = 4096;

// Values as in models: the power that random bits take is what lowers a GPU's clock.
__device__ float operand(int i) {
  const uint32_t bits = (threadIdx.x * 31 + blockIdx.x * 17 + i + 1) * 2654435761u;
  return static_cast<float>(static_cast<int32_t>(bits)) * 0x1p-31f;
}

template <bool kBf16>
__global__ void __launch_bounds__(kThreads) peak_multiply_adds(float* sums) {
  begin_kernel();
  uint32_t a[4], b[2];
  for (int i = 0; i < 4; ++i) a[i] = kBf16 ? to_bf16(operand(i), operand(i + 8)) : to_tf32(operand(i));
  for (int i = 0; i < 2; ++i) b[i] = kBf16 ? to_bf16(operand(i + 4), operand(i + 12)) : to_tf32(operand(i + 4));
  float c[kChains][4];
#pragma unroll
  for (int i = 0; i < kChains * 4; ++i) c[i / 4][i % 4] = operand(16 + i);  // equal chains would become one
  for (int round = 0; round < kRounds; ++round) {
#pragma unroll
    for (int chain = 0; chain < kChains; ++chain) {
      if constexpr (kBf16)
        multiply_add(c[chain], a, b[0], b[1]);
      else
        mma(c[chain], {a[0], a[1], a[2], a[3]}, {b[0], b[1]});
    }
  }
  float sum = 0;
#pragma unroll
  for (const auto& chain : c) sum += chain[0] + chain[1] + chain[2] + chain[3];
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (thread < kPeakSums) sums[thread] = sum;  // nobody reads it, but the loop must not go
}

__global__ void peak_copy(uint4* __restrict__ to, const uint4* __restrict__ from, int64_t count) {
  begin_kernel();
  const int64_t stride = int64_t{gridDim.x} * blockDim.x;
#pragma unroll 4
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride) to[i] = from[i];
}

}  // namespace

double run_multiply_adds(Precision precision, int multiprocessors, float* sums, cudaStream_t stream) {
  const bool bf16 = precision == Precision::bf16;
  const int blocks = kBlocks * multiprocessors;
  launch(bf16 ? peak_multiply_adds<true> : peak_multiply_adds<false>, blocks, kThreads, 0, stream, sums);
  const double flops_an_instruction = 2.0 * 16 * 8 * (bf16 ? 16 : 8);
  const double flops = flops_an_instruction * kRounds * kChains * blocks * (kThreads / kWarp);
  return precision == Precision::fp32 ? flops / 3 : flops;
}

void run_copy(void* to, const void* from, size_t bytes, int multiprocessors, cudaStream_t stream) {
  check(bytes % sizeof(uint4) == 0 && aligned(to) && aligned(from), "a copy of {} bytes", bytes);
  launch(peak_copy, 16 * multiprocessors, 512, 0, stream, static_cast<uint4*>(to), static_cast<const uint4*>(from),
         static_cast<int64_t>(bytes / sizeof(uint4)));
}

}  // namespace mpq
