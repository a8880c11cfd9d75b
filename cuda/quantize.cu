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
  const int row = static_cast<int>(blockIdx.x * kRowsAtOnce + threadIdx.x / kWarp), i = static_cast<int>(blockIdx.y);
  if (row >= rows_of(ragged)) return;
  quantize_row_copy(copies, i, reach(copies.copy[i].slot, replica), x.f32(replica), replica, row,
                    static_cast<int>(x.cols()), ragged, counters);
}

// Copies of sequences, each of which several blocks work for: blockIdx.x counts them sequence by sequence, blockIdx.y
// copies, blockIdx.z replicas.
struct Sequences {
  QuantizedCopies copies;
  Tensor x;
  Ragged ragged;
  int blocks;      // of a sequence
  Survey surveys;  // [R][copies][sequences][passes][chunks]
  int64_t survey_stride;
};

// What a block works for.
struct Sequence {
  const QuantizedCopy& copy;
  const QuantSpec& spec;
  int replica, block, rows;
  int64_t cols, offset, number;

  __device__ explicit Sequence(const Sequences& all)
      : copy(all.copies.copy[blockIdx.y]),
        spec(spec_of(copy.slot, static_cast<int>(blockIdx.z))),
        replica(static_cast<int>(blockIdx.z)),
        block(static_cast<int>(blockIdx.x) % all.blocks) {
    const int sequence = static_cast<int>(blockIdx.x) / all.blocks, first = all.ragged.starts[sequence];
    rows = all.ragged.starts[sequence + 1] - first;
    cols = all.x.cols(), offset = first * cols;
    number = (int64_t{replica} * gridDim.y + blockIdx.y) * all.ragged.sequences + sequence;
  }
  __device__ Survey survey(const Sequences& all) const {
    Survey survey = all.surveys;
    survey.parts += number * all.survey_stride;
    return survey;
  }
};

// A chunk a block.
__global__ void __launch_bounds__(kSurveyThreads)
    survey_sequences_kernel(const __grid_constant__ Sequences all, int pass) {
  begin_kernel();
  const Sequence s(all);
  const int64_t size = s.rows * s.cols;
  if (s.block < all.surveys.chunks.of(size))
    survey_chunk(s.spec, all.x.f32(s.replica) + s.offset, size, s.block, pass, s.survey(all));
}

// `counted`: as in row_by_row.
__global__ void __launch_bounds__(kQuantizeThreads, kQuantizeBlocks)
    quantize_sequences_kernel(const __grid_constant__ Sequences all, bool counted, uint32_t* counters) {
  begin_kernel();
  const Sequence s(all);
  if (row_by_row(s.spec, all.copies.features_rank, counted)) return;
  quantize_tensor(s.spec, Role::activation, {3, {1, s.rows, s.cols}}, trained_of(s.copy.slot, s.replica), 1.0f,
                  all.x.f32(s.replica) + s.offset, s.copy.xq.f32(s.replica) + s.offset,
                  {s.block, all.blocks, counters + (all.blocks > 1 ? 2 * s.number : 0), s.survey(all)});
}

// Enough blocks for a GPU, with four values a thread or more, and as many as the lane can count.
int parts_for(int64_t tensors, int64_t values) {
  constexpr int64_t kBlocks = 1024, kValues = 4 * kQuantizeThreads;
  if (2 * tensors > Lane::kCounters) return 1;
  return static_cast<int>(std::clamp<int64_t>(ceil_div(kBlocks, tensors), 1, ceil_div(values, kValues)));
}

// The passes before the quantizer, where some format asks for them.
void survey(Sequences& all, const dim3& tensors, const Lane& lane) {
  int passes = 0;
  for (const QuantizedCopy& copy : all.copies) passes = std::max(passes, copy.slot.surveys);
  if (passes == 0) return;
  const int64_t longest = all.ragged.longest * all.x.cols(), count = int64_t{tensors.x} * tensors.y * tensors.z;
  const Chunks chunks = chunks_for(lane.scratch_bytes, [&](const Chunks& c) { return count * passes * c.of(longest); });
  all.blocks = static_cast<int>(chunks.of(longest));
  all.surveys = {lane.scratch_as<SurveyPart>(), all.blocks, chunks};
  all.survey_stride = int64_t{passes} * all.blocks;
  for (int pass = 0; pass < passes; ++pass)
    launch(survey_sequences_kernel, dim3(tensors.x * all.blocks, tensors.y, tensors.z), kSurveyThreads, 0, lane.stream,
           all, pass);
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
  Sequences all{rest, x, ragged};
  const dim3 tensors(ragged.sequences, rest.count, static_cast<unsigned>(rest.copy[0].xq.replicas));
  survey(all, tensors, lane);
  all.blocks = parts_for(int64_t{tensors.x} * tensors.y * tensors.z, ragged.longest * x.cols());
  launch(quantize_sequences_kernel, dim3(tensors.x * all.blocks, tensors.y, tensors.z), kQuantizeThreads, 0,
         lane.stream, all, counted, lane.counters);
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
