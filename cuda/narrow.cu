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

__device__ __forceinline__ float4 widened(uint2 four) {
  const float2 low = from_bf16(four.x), high = from_bf16(four.y);
  return {low.x, low.y, high.x, high.y};
}
__device__ __forceinline__ float4 four_of(const NarrowSumsArgs::Copy& copy, int64_t row, int col) {
  if (copy.from) return *reinterpret_cast<const float4*>(copy.from + row * copy.cols + col);
  return widened(*reinterpret_cast<const uint2*>(copy.narrow.data + row * copy.narrow.apart + col));
}

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
    const int64_t row = first + i;
    const bool inside = row < copy.rows && col < copy.cols;
    const float4 v = inside && row < there ? four_of(copy, row, col) : float4{};
    if (inside && row >= copy.copied)
      *reinterpret_cast<uint2*>(copy.to + (row - copy.copied) * copy.cols + col) = {to_bf16(v.x, v.y),
                                                                                    to_bf16(v.z, v.w)};
    sum = sum + v;
  }
  parts[span][lane][vector] = sum;
  __syncthreads();
  if (thread >= kSpanColumns || col0 + thread >= copy.cols || first >= copy.rows) return;
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += reinterpret_cast<const float*>(parts[span][i])[thread];
  copy.sums[int64_t{blockIdx.y} * copy.cols + col0 + thread] = total;
}

// A block a row, from its end: what the threads write together they have read, and lies behind all that they read next.
__global__ void __launch_bounds__(kThreads)
    widen_kernel(const Matrices gradient, const __grid_constant__ Ragged ragged) {
  begin_kernel();
  const int row = static_cast<int>(blockIdx.x), fours = gradient.cols / 4;
  if (row >= rows_of(ragged)) return;
  float* x = gradient.row(static_cast<int>(blockIdx.z), row);
  for (int first = (fours - 1) / kThreads * kThreads; first >= 0; first -= kThreads) {
    const int i = first + static_cast<int>(threadIdx.x);
    const float4 v = i < fours ? widened(reinterpret_cast<const uint2*>(x)[i]) : float4{};
    __syncthreads();
    if (i < fours) reinterpret_cast<float4*>(x)[i] = v;
  }
}

}  // namespace

NarrowCopies::WithSums NarrowCopies::rows_and_sums_of(const Matrices& m, int replica, int64_t first, int64_t rows) {
  return add({.from = m.row(replica, static_cast<int>(first)), .cols = m.cols, .rows = rows}, first);
}
NarrowCopies::WithSums NarrowCopies::rest_and_sums_of(const NarrowRows& m, int cols, int64_t first, int64_t rows,
                                                      int64_t copied) {
  return add({.narrow = m, .copied = copied, .cols = cols, .rows = rows}, first);
}

NarrowCopies::WithSums NarrowCopies::add(NarrowSumsArgs::Copy copy, int64_t first) {
  check(aligned(copy.from) && aligned(copy.narrow.data) && copy.cols % kEach == 0,
        "{} columns cannot be rounded by eights", copy.cols);
  const auto take = [&](int64_t elements) { return arena_.take(static_cast<size_t>(bytes(elements))); };
  copy.to = static_cast<uint16_t*>(take((copy.rows - copy.copied) * copy.cols));
  copy.sums = static_cast<float*>(take(2 * ceil_div(copy.rows, kSumRows) * copy.cols));
  sums_.before = first;
  sums_.copy[sums_.count++] = copy;
  return {copy.to, copy.sums};
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

void widen(const Tensor& gradient, const Ragged& ragged, cudaStream_t stream) {
  launch(widen_kernel, dim3(static_cast<unsigned>(gradient.rows()), 1, gradient.replicas), kThreads, 0, stream,
         matrices(gradient), ragged);
}

}  // namespace mpq
