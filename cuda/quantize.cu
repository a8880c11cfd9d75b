// Quantized copies of activations (tensor/ops.h, QuantizedCopies).
#include "cuda/quantize.cuh"

#include <algorithm>

#include "cuda/quantize_tensor.cuh"

namespace mpq {

namespace {

// grid (rows / 8, copies, R): a warp a row.
__global__ void __launch_bounds__(kQuantizeThreads)
    quantize_rows_kernel(const __grid_constant__ QuantizedCopies copies, const __grid_constant__ Tensor x,
                         const __grid_constant__ Ragged ragged, uint32_t* counters) {
  begin_kernel();
  const int replica = static_cast<int>(blockIdx.z);
  const int row = static_cast<int>(blockIdx.x * kRowsAtOnce + threadIdx.x / kWarp);
  if (row >= rows_of(ragged)) return;
  quantize_row_copy(copies, static_cast<int>(blockIdx.y), x.f32(replica), replica, row, static_cast<int>(x.cols()),
                    ragged, counters);
}

// grid (sequences * parts, copies, R): `parts` blocks a sequence. `counted`: as in row_by_row.
__global__ void __launch_bounds__(kQuantizeThreads)
    quantize_sequences_kernel(const __grid_constant__ QuantizedCopies copies, const __grid_constant__ Tensor x,
                              const __grid_constant__ Ragged ragged, bool counted, int parts, uint32_t* counters) {
  begin_kernel();
  const QuantizedCopy& copy = copies.copy[blockIdx.y];
  const int replica = static_cast<int>(blockIdx.z);
  const int sequences = static_cast<int>(gridDim.x) / parts, sequence = static_cast<int>(blockIdx.x) / parts;
  const QuantSpec& spec = spec_of(copy.slot, replica);
  if (row_by_row(spec, copies.features_rank, counted)) return;
  const int first = ragged.starts[sequence], rows = ragged.starts[sequence + 1] - first;
  const int64_t cols = x.cols(), offset = first * cols;
  const int64_t tensor = (int64_t{replica} * gridDim.y + blockIdx.y) * sequences + sequence;
  quantize_tensor(spec, Role::activation, {3, {1, rows, cols}}, trained_of(copy.slot, replica), 1.0f,
                  x.f32(replica) + offset, copy.xq.f32(replica) + offset,
                  {static_cast<int>(blockIdx.x) % parts, parts, counters + (parts > 1 ? 2 * tensor : 0)});
}

// Enough blocks for a GPU, with four values a thread or more, and as many as the lane can count.
int parts_for(int64_t tensors, int64_t values) {
  constexpr int64_t kBlocks = 1024, kValues = 4 * kQuantizeThreads;
  if (2 * tensors > Lane::kCounters) return 1;
  return static_cast<int>(std::clamp<int64_t>(ceil_div(kBlocks, tensors), 1, ceil_div(values, kValues)));
}

}  // namespace

uint32_t* sequence_counters(const QuantizedCopies& copies, const Ragged& ragged, const Lane& lane) {
  bool minima = false;
  for (const QuantizedCopy& copy : copies) minima |= copy.slot.over_sequence && !copy.whole;
  if (!minima || copies.features_rank == 2 || ragged.longest > 0xffff) return nullptr;
  const int64_t tensors = int64_t{copies.copy[0].xq.replicas} * copies.count * ragged.sequences;
  return 2 * tensors <= Lane::kCounters ? lane.counters : nullptr;
}

void quantize_sequence_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged, const Lane& lane) {
  if (copies.features_rank == 2 || ragged.rows == 0) return;
  const bool counted = sequence_counters(copies, ragged, lane) != nullptr;
  QuantizedCopies rest;
  for (const QuantizedCopy& copy : copies)
    if (!copy.whole && (counted ? copy.slot.tiles_over_rows : copy.slot.over_sequence)) rest.add(copy);
  if (rest.count == 0) return;
  const auto replicas = static_cast<unsigned>(rest.copy[0].xq.replicas);
  const int64_t tensors = int64_t{ragged.sequences} * rest.count * replicas;
  const int parts = parts_for(tensors, ragged.longest * x.cols());
  const dim3 grid(static_cast<unsigned>(ragged.sequences * parts), rest.count, replicas);
  launch(quantize_sequences_kernel, grid, kQuantizeThreads, 0, lane.stream, rest, x, ragged, counted, parts,
         lane.counters);
}

void quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged, const Lane& lane) {
  if (copies.count == 0) return;
  const dim3 grid(static_cast<unsigned>(ceil_div(ragged.rows, kRowsAtOnce)), copies.count,
                  static_cast<unsigned>(copies.copy[0].xq.replicas));
  launch(quantize_rows_kernel, grid, kQuantizeThreads, 0, lane.stream, copies, x, ragged,
         sequence_counters(copies, ragged, lane));
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
