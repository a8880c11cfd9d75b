#include "cuda/narrow.h"

#include <algorithm>

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

// A block takes kSumRows rows of two spans of 32 columns: 16 threads share out the rows of each four columns.
constexpr int kSpanColumns = 32, kSpanThreads = 128, kLanes = kSpanThreads / (kSpanColumns / 4);
constexpr int kSpans = kThreads / kSpanThreads;

__global__ void __launch_bounds__(kThreads) narrow_sums_kernel(const __grid_constant__ NarrowSumsArgs args) {
  begin_kernel();
  __shared__ float4 parts[kSpans][kLanes][kSpanColumns / 4];
  const NarrowSumsArgs::Copy& copy = args.copy[blockIdx.z];
  const int span = threadIdx.x / kSpanThreads, thread = threadIdx.x % kSpanThreads;
  const int lane = thread / (kSpanColumns / 4), vector = thread % (kSpanColumns / 4);
  const int col0 = (static_cast<int>(blockIdx.x) * kSpans + span) * kSpanColumns, col = col0 + 4 * vector;
  const int64_t first = int64_t{blockIdx.y} * NarrowCopies::kSumRows, there = rows_of(args.ragged) - args.before;
  float4 sum = {};
#pragma unroll
  for (int i = lane; i < NarrowCopies::kSumRows; i += kLanes) {
    const int64_t row = first + i, at = row * copy.cols + col;
    const bool inside = row < copy.rows && col < copy.cols;
    const float4 v = inside && row < there ? *reinterpret_cast<const float4*>(copy.from + at) : float4{};
    if (inside) *reinterpret_cast<uint2*>(copy.to + at) = {to_bf16(v.x, v.y), to_bf16(v.z, v.w)};
    sum = sum + v;
  }
  parts[span][lane][vector] = sum;
  __syncthreads();
  if (thread >= kSpanColumns || col0 + thread >= copy.cols || first >= copy.rows) return;
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += reinterpret_cast<const float*>(parts[span][i])[thread];
  copy.sums[int64_t{blockIdx.y} * copy.cols + col0 + thread] = total;
}

}  // namespace

NarrowCopies::WithSums NarrowCopies::rows_and_sums_of(const Matrices& m, int replica, int64_t first, int64_t rows) {
  const int i = sums_.count++;
  sums_.before = first;
  sums_.copy[i] = {
      .from = m.row(replica, static_cast<int>(first)),
      .to = static_cast<uint16_t*>(arena_.take(static_cast<size_t>(bytes(size(m, rows))))),
      .sums = static_cast<float*>(arena_.take(static_cast<size_t>(bytes(2 * ceil_div(rows, kSumRows) * m.cols)))),
      .cols = m.cols,
      .rows = rows};
  check(aligned(sums_.copy[i].from) && m.cols % kEach == 0, "{} columns cannot be rounded by eights", m.cols);
  return {sums_.copy[i].to, sums_.copy[i].sums};
}

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

  int64_t rows = 0;
  int cols = 0;
  for (const NarrowSumsArgs::Copy& copy : sums_.copy)
    rows = std::max(rows, copy.rows), cols = std::max(cols, copy.cols);
  launch(narrow_sums_kernel,
         dim3(static_cast<unsigned>(ceil_div(cols, kSpans * kSpanColumns)),
              static_cast<unsigned>(ceil_div(rows, kSumRows)), sums_.count),
         kThreads, 0, stream, sums_);
}

}  // namespace mpq
