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

// The activations that formats see as tensors: sequences, with features_rank 2 rows. A block's copy is blockIdx.y, its
// replica blockIdx.z, and blockIdx.x counts `blocks` for each tensor.
struct Sequences {
  QuantizedCopies copies;
  Tensor x;
  Ragged ragged;
  int tensors, blocks;
  Survey surveys;  // [R][copies][tensors][passes][chunks]
  int64_t survey_stride;
};

// The one that a block works for.
struct Sequence {
  const QuantizedCopy& copy;
  const QuantSpec& spec;
  int replica, tensor, block;
  int first, rows;
  int64_t cols, offset, number;

  __device__ explicit Sequence(const Sequences& all)
      : copy(all.copies.copy[blockIdx.y]),
        spec(spec_of(copy.slot, static_cast<int>(blockIdx.z))),
        replica(static_cast<int>(blockIdx.z)),
        tensor(static_cast<int>(blockIdx.x) / all.blocks),
        block(static_cast<int>(blockIdx.x) % all.blocks) {
    const bool together = all.copies.features_rank == 3;
    first = together ? all.ragged.starts[tensor] : tensor;
    rows = together ? all.ragged.starts[tensor + 1] - first : tensor < rows_of(all.ragged) ? 1 : 0;
    cols = all.x.cols(), offset = first * cols;
    number = (int64_t{replica} * gridDim.y + blockIdx.y) * all.tensors + tensor;
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

__global__ void __launch_bounds__(kQuantizeThreads)
    quantize_sequences_kernel(const __grid_constant__ Sequences all, uint32_t* counters) {
  begin_kernel();
  const Sequence s(all);
  if (within_row(s.spec) || s.rows == 0) return;
  const QuantShape shape =
      all.copies.features_rank == 3 ? QuantShape{3, {1, s.rows, s.cols}} : QuantShape{2, {1, s.cols, 1}};
  quantize_tensor(s.spec, Role::activation, shape, trained_of(s.copy.slot, s.replica), 1.0f,
                  all.x.f32(s.replica) + s.offset, s.copy.xq.f32(s.replica) + s.offset,
                  {s.block, all.blocks, counters + (all.blocks > 1 ? 2 * s.number : 0), s.survey(all)});
}

// Enough blocks for a GPU, with four values a thread or more, and as many as the lane can count.
int parts_for(int64_t tensors, int64_t values) {
  constexpr int64_t kBlocks = 1024, kValues = 4 * kQuantizeThreads;
  if (2 * tensors > Lane::kCounters) return 1;
  return static_cast<int>(std::clamp<int64_t>(ceil_div(kBlocks, tensors), 1, ceil_div(values, kValues)));
}

int surveys_of(const QuantizedCopies& copies) {
  int surveys = 0;
  for (const QuantizedCopy& copy : copies) surveys = std::max(surveys, copy.slot.surveys);
  return surveys;
}

}  // namespace

void quantize_sequence_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged, const Lane& lane) {
  QuantizedCopies over_sequence;
  over_sequence.features_rank = copies.features_rank;
  for (const QuantizedCopy& copy : copies)
    if (copy.slot.over_sequence) over_sequence.add(copy);
  if (over_sequence.count == 0 || ragged.rows == 0) return;
  const bool together = copies.features_rank == 3;
  Sequences all{over_sequence, x, ragged};
  all.tensors = static_cast<int>(together ? ragged.sequences : ragged.rows);
  const int64_t longest = (together ? ragged.longest : 1) * x.cols();
  const int replicas = over_sequence.copy[0].xq.replicas;
  const int64_t tensors = int64_t{all.tensors} * over_sequence.count * replicas;
  const auto grid = [&] {
    return dim3(static_cast<unsigned>(all.tensors * all.blocks), over_sequence.count, static_cast<unsigned>(replicas));
  };
  if (const int passes = surveys_of(over_sequence)) {
    const Chunks chunks =
        chunks_for(lane.scratch_bytes, [&](const Chunks& c) { return tensors * passes * c.of(longest); });
    all.blocks = static_cast<int>(chunks.of(longest));
    all.surveys = {lane.scratch_as<SurveyPart>(), all.blocks, chunks};
    all.survey_stride = int64_t{passes} * all.blocks;
    for (int pass = 0; pass < passes; ++pass)
      launch(survey_sequences_kernel, grid(), kSurveyThreads, 0, lane.stream, all, pass);
  }
  all.blocks = parts_for(tensors, longest);
  launch(quantize_sequences_kernel, grid(), kQuantizeThreads, 0, lane.stream, all, lane.counters);
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
