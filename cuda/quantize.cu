// Quantized copies of activations (tensor/ops.h, QuantizedCopies).
#include "cuda/quantize.cuh"

#include <algorithm>

#include "cuda/quantize_tensor.cuh"

namespace mpq {

namespace {

// grid (rows / 8, copies, R): a warp a row.
__global__ void __launch_bounds__(kQuantizeThreads)
    quantize_rows_kernel(const __grid_constant__ QuantizedCopies copies, const __grid_constant__ Tensor x,
                         const __grid_constant__ Ragged ragged) {
  begin_kernel();
  const QuantizedCopy& copy = copies.copy[blockIdx.y];
  const int replica = static_cast<int>(blockIdx.z), cols = static_cast<int>(x.cols());
  const int row = static_cast<int>(blockIdx.x * kRowsAtOnce + threadIdx.x / kWarp);
  const QuantSpec& spec = spec_of(copy.slot, replica);
  if (row >= rows_of(ragged) || !within_row(spec)) return;
  const int64_t offset = static_cast<int64_t>(row) * cols;
  quantize_row(spec, copies.features_rank, x.f32(replica) + offset, copy.xq.f32(replica) + offset, cols,
               trained_of(copy.slot, replica));
}

// grid (sequences * parts, copies, R): `parts` blocks a sequence; with features_rank 2, a row.
__global__ void __launch_bounds__(kQuantizeThreads)
    quantize_sequences_kernel(const __grid_constant__ QuantizedCopies copies, const __grid_constant__ Tensor x,
                              const __grid_constant__ Ragged ragged, int parts, uint32_t* counters) {
  begin_kernel();
  const QuantizedCopy& copy = copies.copy[blockIdx.y];
  const int replica = static_cast<int>(blockIdx.z);
  const int sequences = static_cast<int>(gridDim.x) / parts, sequence = static_cast<int>(blockIdx.x) / parts;
  const QuantSpec& spec = spec_of(copy.slot, replica);
  if (within_row(spec)) return;
  const bool together = copies.features_rank == 3;
  if (!together && sequence >= rows_of(ragged)) return;
  const int first = together ? ragged.starts[sequence] : sequence;
  const int rows = together ? ragged.starts[sequence + 1] - first : 1;
  const int64_t cols = x.cols(), offset = first * cols;
  const QuantShape shape = together ? QuantShape{3, {1, rows, cols}} : QuantShape{2, {1, cols, 1}};
  const int64_t tensor = (int64_t{replica} * gridDim.y + blockIdx.y) * sequences + sequence;
  quantize_tensor(spec, Role::activation, shape, trained_of(copy.slot, replica), 1.0f, x.f32(replica) + offset,
                  copy.xq.f32(replica) + offset,
                  {static_cast<int>(blockIdx.x) % parts, parts, counters + (parts > 1 ? 2 * tensor : 0)});
}

// Enough blocks for a GPU, with four values a thread or more, and as many as the lane can count.
int parts_for(int64_t tensors, int64_t values) {
  constexpr int64_t kBlocks = 1024, kValues = 4 * kQuantizeThreads;
  if (2 * tensors > Lane::kCounters) return 1;
  return static_cast<int>(std::clamp<int64_t>(ceil_div(kBlocks, tensors), 1, ceil_div(values, kValues)));
}

}  // namespace

void quantize_sequence_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged, const Lane& lane) {
  QuantizedCopies over_sequence;
  over_sequence.features_rank = copies.features_rank;
  for (const QuantizedCopy& copy : copies)
    if (copy.slot.over_sequence) over_sequence.add(copy);
  if (over_sequence.count == 0 || ragged.rows == 0) return;
  const bool together = copies.features_rank == 3;
  const int64_t tensors = together ? ragged.sequences : ragged.rows;
  const auto replicas = static_cast<unsigned>(over_sequence.copy[0].xq.replicas);
  const int parts = parts_for(tensors * over_sequence.count * replicas, (together ? ragged.longest : 1) * x.cols());
  const dim3 grid(static_cast<unsigned>(tensors * parts), over_sequence.count, replicas);
  launch(quantize_sequences_kernel, grid, kQuantizeThreads, 0, lane.stream, over_sequence, x, ragged, parts,
         lane.counters);
}

void quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged, const Lane& lane) {
  if (copies.count == 0) return;
  const dim3 grid(static_cast<unsigned>(ceil_div(ragged.rows, kRowsAtOnce)), copies.count,
                  static_cast<unsigned>(copies.copy[0].xq.replicas));
  launch(quantize_rows_kernel, grid, kQuantizeThreads, 0, lane.stream, copies, x, ragged);
  quantize_sequence_copies(copies, x, ragged, lane);
}

void quantize_in_place(const QuantSlot& slot, int rank, const Tensor& y, const Ragged& ragged, const Lane& lane) {
  QuantizedCopies copies;
  copies.features_rank = rank;
  copies.add({slot, y});
  quantize_copies(copies, y, ragged, lane);
}

void CudaOps::quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged) {
  mpq::quantize_copies(copies, x, ragged, main_);
}

}  // namespace mpq
