// Batches of many steps from a data set in the device's memory; one batch to where the step reads it; a step's end.
#include <bit>
#include <cub/block/block_reduce.cuh>
#include <cub/block/block_scan.cuh>
#include <cub/device/device_radix_sort.cuh>

#include "cuda/common.cuh"
#include "cuda/cuda_ops.h"

namespace mpq {
namespace {

constexpr int kThreads = 256;
constexpr int kCompactThreads = 1024;

// What a batch is sorted by: slot, token and position, from the highest bits down. The tokens of all batches lie there
// one after the other, so a key is less than the next of its batch where they share the token: a stable sort of the
// bits from the token up is enough.
struct KeyBits {
  int position, slot;
  static constexpr int kToken = 31;
  int end() const { return position + kToken + slot; }
  __device__ uint64_t key(int s, int32_t token, int at) const {
    return (static_cast<uint64_t>(s) << kToken | static_cast<uint32_t>(token)) << position | static_cast<uint32_t>(at);
  }
  __device__ int32_t token(uint64_t key) const {
    return static_cast<int32_t>(key >> position & ((uint64_t{1} << kToken) - 1));
  }
  __device__ int32_t place(uint64_t key) const { return static_cast<int32_t>(key & ((uint64_t{1} << position) - 1)); }
};

// What was masked in a row of a batch that starts at token `start`; every thread has summed up a part of `before`, the
// masked tokens of this batch's rows before.
__device__ void gather_masked(const StepRows& rows, const BatchSlots& to, int64_t row, bool last, int start,
                              int before) {
  using Reduce = cub::BlockReduce<int, kThreads>;
  __shared__ typename Reduce::TempStorage storage;
  __shared__ int begin;
  before = Reduce(storage).Sum(before);
  if (threadIdx.x == 0) begin = before;
  __syncthreads();
  const int64_t from = rows.masked_starts[row];
  const int count = static_cast<int>(rows.masked_starts[row + 1] - from);
  if (threadIdx.x == 0) {
    to.masked_starts[blockIdx.x] = begin;
    if (last) to.masked_starts[blockIdx.x + 1] = begin + count;
  }
  for (int i = threadIdx.x; i < count; i += kThreads) {
    to.masked_rows[begin + i] = start + rows.masked_positions[from + i];
    to.masked_tokens[begin + i] = rows.masked_tokens[from + i];
  }
}

// A block a row of a batch: its tokens, where it starts, its label, its number, its keys, what was masked.
__global__ void __launch_bounds__(kThreads)
    gather_kernel(const __grid_constant__ PrepareBatches op, KeyBits bits, uint64_t* keys) {
  begin_kernel();
  using Reduce = cub::BlockReduce<int, kThreads>;
  __shared__ typename Reduce::TempStorage storage[2];
  __shared__ int begin[2];
  const StepRows& rows = op.rows;
  const int64_t step = op.first_step + blockIdx.y, batch = rows.first[step], mine = batch + blockIdx.x;
  if (mine >= rows.first[step + 1]) {
    if (mine == batch && threadIdx.x == 0) {  // a batch without rows
      const BatchSlots to = op.slots.at(blockIdx.y);
      to.starts[0] = 0;
      if (to.masked_rows) to.masked_starts[0] = 0;
    }
    return;
  }
  int before = 0, within = 0;  // tokens of the batches before, of this batch's rows before
  int masked = 0;              // of those, masked ones
  for (int64_t i = rows.first[op.first_step] + threadIdx.x; i < mine; i += kThreads) {
    const int64_t row = rows.order[i];
    (i < batch ? before : within) += static_cast<int>(rows.starts[row + 1] - rows.starts[row]);
    if (op.slots.masked_rows && i >= batch)
      masked += static_cast<int>(rows.masked_starts[row + 1] - rows.masked_starts[row]);
  }
  before = Reduce(storage[0]).Sum(before);
  within = Reduce(storage[1]).Sum(within);
  const BatchSlots to = op.slots.at(blockIdx.y);
  const int64_t row = rows.order[mine], from = rows.starts[row];
  const int length = static_cast<int>(rows.starts[row + 1] - from);
  if (threadIdx.x == 0) {
    begin[0] = before, begin[1] = within;
    to.starts[blockIdx.x] = within;
    to.labels[blockIdx.x] = rows.labels[row];
    to.rows[blockIdx.x] = static_cast<int32_t>(row);
    if (mine + 1 == rows.first[step + 1]) to.starts[blockIdx.x + 1] = within + length;
  }
  __syncthreads();
  before = begin[0], within = begin[1];
  for (int i = threadIdx.x; i < length; i += kThreads) {
    const int32_t token = rows.tokens[from + i];
    to.tokens[within + i] = token;
    if (keys) keys[before + within + i] = bits.key(blockIdx.y, token, within + i);
  }
  if (op.slots.masked_rows) gather_masked(rows, to, row, mine + 1 == rows.first[step + 1], within, masked);
}

// A block a batch: its distinct tokens and where they stand, from its sorted keys.
__global__ void __launch_bounds__(kCompactThreads)
    segments_kernel(const __grid_constant__ PrepareBatches op, KeyBits bits, const uint64_t* keys) {
  begin_kernel();
  using Reduce = cub::BlockReduce<int, kCompactThreads>;
  using Scan = cub::BlockScan<int, kCompactThreads>;
  __shared__ typename Reduce::TempStorage reduce_storage;
  __shared__ typename Scan::TempStorage scan_storage;
  __shared__ int shared_before;
  const auto tokens_of = [&](int batch) {
    const int64_t* first = op.rows.first + op.first_step + batch;
    return op.slots.at(batch).starts[first[1] - first[0]];
  };
  const int mine = blockIdx.x;
  int before = 0;
  for (int batch = threadIdx.x; batch < mine; batch += kCompactThreads) before += tokens_of(batch);
  before = Reduce(reduce_storage).Sum(before);
  if (threadIdx.x == 0) shared_before = before;
  __syncthreads();
  keys += shared_before;
  const BatchSlots to = op.slots.at(mine);
  const int tokens = tokens_of(mine);
  int segments = 0;  // so far; every thread holds it
  for (int base = 0; base < tokens; base += kCompactThreads) {
    const int i = base + threadIdx.x;
    const bool there = i < tokens;
    const int32_t token = there ? bits.token(keys[i]) : 0;
    const bool first = there && (i == 0 || token != bits.token(keys[i - 1]));
    int rank, found;
    Scan(scan_storage).ExclusiveSum(first, rank, found);
    __syncthreads();
    if (there) to.order[i] = bits.place(keys[i]);
    if (first) to.segment_tokens[segments + rank] = token, to.segment_starts[segments + rank] = i;
    segments += found;
  }
  if (threadIdx.x == 0) to.segment_starts[segments] = tokens, *to.segment_count = segments;
}

__device__ void copy(int32_t* to, const int32_t* from, int count) {
  for (int i = blockIdx.x * kThreads + threadIdx.x; i < count; i += gridDim.x * kThreads) to[i] = from[i];
}

__global__ void __launch_bounds__(kThreads) load_batch_kernel(const __grid_constant__ LoadBatch op) {
  begin_kernel();
  const BatchSlots from = op.slots.at(*op.step - *op.first_step);
  const int tokens = from.starts[op.sequences];
  copy(op.to.starts, from.starts, op.sequences + 1);
  copy(op.to.labels, from.labels, op.sequences);
  copy(op.to.rows, from.rows, op.sequences);
  copy(op.to.tokens, from.tokens, tokens);
  if (from.masked_rows) {
    const int masked = from.masked_starts[op.sequences];
    copy(op.to.masked_starts, from.masked_starts, op.sequences + 1);
    copy(op.to.masked_rows, from.masked_rows, masked);
    copy(op.to.masked_tokens, from.masked_tokens, masked);
  }
  if (!from.segment_tokens) return;
  const int segments = *from.segment_count;
  copy(op.to.segment_tokens, from.segment_tokens, segments);
  copy(op.to.segment_starts, from.segment_starts, segments + 1);
  copy(op.to.order, from.order, tokens);
  copy(op.to.segment_count, from.segment_count, 1);
}

__global__ void __launch_bounds__(kThreads) end_step_kernel(const __grid_constant__ EndStep op) {
  begin_kernel();
  const int replicas = op.loss.replicas;
  float* history = op.history + *op.step % op.slots * replicas * 2;
  for (int r = threadIdx.x; r < replicas; r += kThreads) {
    history[r * 2] = op.loss.f32(r)[0];
    history[r * 2 + 1] = op.norm.f32(r)[0];
  }
  __syncthreads();
  if (threadIdx.x == 0) ++*op.step;
}

int bits_for(int64_t values) { return std::bit_width(static_cast<uint64_t>(values > 0 ? values - 1 : 0)); }

// The keys, the sort's second copy of them, and what it needs besides.
struct SortScratch {
  size_t keys, sort = 0;
  explicit SortScratch(int64_t tokens) : keys(ceil_div(tokens * sizeof(uint64_t), 256) * 256) {
    cub::DoubleBuffer<uint64_t> none;
    check_cuda(cub::DeviceRadixSort::SortKeys(nullptr, sort, none, static_cast<int>(tokens)), "size of a sort");
  }
  size_t bytes() const { return 2 * keys + sort; }
};

}  // namespace

size_t CudaOps::prepare_scratch(int64_t tokens) { return SortScratch(tokens).bytes(); }

void CudaOps::prepare_batches(const PrepareBatches& op) {
  const KeyBits bits{bits_for(op.slots.token_stride), bits_for(op.count)};
  check(bits.end() <= 64, "keys of {} bits", bits.end());
  auto* keys = static_cast<uint64_t*>(op.scratch);
  const bool sorted = op.slots.segment_tokens != nullptr;
  launch(gather_kernel, dim3(op.slots.row_stride, op.count), kThreads, 0, main_.stream, op, bits,
         sorted ? keys : nullptr);
  if (!sorted) return;
  const SortScratch size(op.tokens);
  auto* bytes = static_cast<std::byte*>(op.scratch);
  cub::DoubleBuffer<uint64_t> buffers(keys, reinterpret_cast<uint64_t*>(bytes + size.keys));
  size_t sort_bytes = size.sort;
  check_cuda(cub::DeviceRadixSort::SortKeys(bytes + 2 * size.keys, sort_bytes, buffers, static_cast<int>(op.tokens),
                                            bits.position, bits.end(), main_.stream),
             "sort of tokens");
  launch(segments_kernel, dim3(op.count), kCompactThreads, 0, main_.stream, op, bits, buffers.Current());
}

void CudaOps::load_batch(const LoadBatch& op) {
  const dim3 grid(std::clamp<int64_t>(ceil_div(op.slots.token_stride, kThreads), 1, 64));
  launch(load_batch_kernel, grid, kThreads, 0, main_.stream, op);
}

void CudaOps::end_step(const EndStep& op) {
  join();  // who reads the step is done with it
  launch(end_step_kernel, dim3(1), kThreads, 0, main_.stream, op);
}

}  // namespace mpq
