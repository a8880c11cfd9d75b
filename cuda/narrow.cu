#include "cuda/narrow.h"

#include "cuda/mma.cuh"

namespace mpq {
namespace {

constexpr int kThreads = 256, kEach = 8;  // elements a thread

__global__ void __launch_bounds__(kThreads) narrow_kernel(const __grid_constant__ NarrowArgs args) {
  begin_kernel();
  int block = static_cast<int>(blockIdx.x), c = 0;
  while (block >= args.copy[c].blocks) block -= args.copy[c++].blocks;
  const NarrowArgs::Copy& copy = args.copy[c];
  const int64_t i = (int64_t{block} * kThreads + threadIdx.x) * kEach;
  if (i >= copy.size) return;
  const int64_t there = copy.cols > 0 ? (rows_of(args.ragged) - copy.before) * copy.cols : copy.size;
  uint4 eight = {};
  if (i < there) {
    const float4 low = *reinterpret_cast<const float4*>(copy.from + i),
                 high = *reinterpret_cast<const float4*>(copy.from + i + 4);
    eight = {to_bf16(low.x, low.y), to_bf16(low.z, low.w), to_bf16(high.x, high.y), to_bf16(high.z, high.w)};
  }
  *reinterpret_cast<uint4*>(copy.to + i) = eight;
}

}  // namespace

const uint16_t* NarrowCopies::add(NarrowArgs::Copy copy) {
  check(aligned(copy.from) && copy.size % kEach == 0, "{} elements at {} cannot be rounded by eights", copy.size,
        static_cast<const void*>(copy.from));
  for (int i = 0; i < args_.count; ++i)
    if (args_.copy[i].from == copy.from && args_.copy[i].size == copy.size) return args_.copy[i].to;
  check(args_.count < NarrowArgs::kMost, "more than {} operands in one call", NarrowArgs::kMost);
  copy.blocks = static_cast<int>(ceil_div(copy.size, kThreads * kEach));
  copy.to = static_cast<uint16_t*>(arena_.take(static_cast<size_t>(bytes(copy.size))));
  args_.copy[args_.count++] = copy;
  return copy.to;
}

void NarrowCopies::make(cudaStream_t stream) {
  unsigned blocks = 0;
  for (int i = 0; i < args_.count; ++i) blocks += args_.copy[i].blocks;
  launch(narrow_kernel, blocks, kThreads, 0, stream, args_);
}

}  // namespace mpq
