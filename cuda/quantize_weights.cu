// All weights and biases of a model quantized in one launch, and the gradient of their scale (tensor/ops.h,
// QuantizeWeights).
#include "cuda/block_sums.cuh"
#include "cuda/quantize_tensor.cuh"
#include "cuda/weight_table.cuh"

namespace mpq {

namespace {

// Where the parts of all items' surveys lie: [R][items][passes][chunks].
struct WeightSurveys {
  SurveyPart* parts;
  Chunks chunks;
  int passes;

  HD int64_t chunks_of(const WeightItem& item) const { return chunks.of(int64_t{item.rows} * item.cols); }
  HD int64_t chunks_before(const WeightTable& table, int i) const {
    int64_t sum = 0;
    for (int k = 0; k < i; ++k) sum += chunks_of(table.items[k]);
    return sum;
  }
  __device__ Survey of(const WeightTable& table, int i, int replica) const {
    const int64_t before = replica * chunks_before(table, table.count) + chunks_before(table, i);
    return {parts + passes * before, chunks_of(table.items[i]), chunks};
  }
};

// grid (chunks of all items, 1, R).
__global__ void __launch_bounds__(kSurveyThreads)
    survey_weights_kernel(const __grid_constant__ WeightTable table, const __grid_constant__ WeightSurveys surveys,
                          int pass) {
  begin_kernel();
  int i = 0, chunk = static_cast<int>(blockIdx.x);
  for (; chunk >= surveys.chunks_of(table.items[i]); ++i) chunk -= static_cast<int>(surveys.chunks_of(table.items[i]));
  const int replica = static_cast<int>(blockIdx.z);
  const WeightItem& item = table.items[i];
  survey_chunk(item.spec(replica), item.w[replica], int64_t{item.rows} * item.cols, chunk, pass,
               surveys.of(table, i, replica));
}

// grid (blocks of all items, 1, R); every item is one tensor of quantize_tensor.
__global__ void __launch_bounds__(kQuantizeThreads, kQuantizeBlocks)
    quantize_weights_kernel(const __grid_constant__ WeightTable table, const __grid_constant__ WeightSurveys surveys,
                            uint32_t* counters) {
  begin_kernel();
  const int replica = static_cast<int>(blockIdx.z), i = table.find(static_cast<int>(blockIdx.x));
  const WeightItem& item = table.items[i];
  const float* gamma = item.gamma(replica);
  const Part part{static_cast<int>(blockIdx.x) - table.first_block[i], table.blocks_of(i),
                  counters + 2 * (replica * table.count + i),
                  surveys.passes > 0 ? surveys.of(table, i, replica) : Survey{}};
  quantize_tensor(item.spec(replica), item.role, item.shape(), nullptr, gamma ? magnitude(*gamma) : 1.0f,
                  item.w[replica], item.wq[replica], part, {item.only.rows, item.only.count});
}

constexpr int kValues = 4;  // of a thread
constexpr int kChunk = kValues * kQuantizeThreads;

// wq = w' |gamma|, w' the quantized w: dw = dwq |gamma|, dgamma = sgn(gamma) sum of dwq w' (MASE's
// LinearBinaryResidualSign). A block takes so many `shares`, chunks of kChunk values of an item, each with a sum of
// its own. partial: [R][blocks][shares].
__global__ void __launch_bounds__(kQuantizeThreads)
    quantize_weights_grad_kernel(const __grid_constant__ WeightTable table, int shares, double* partial,
                                 uint32_t* counters) {
  begin_kernel();
  const int replica = static_cast<int>(blockIdx.z), i = table.find(static_cast<int>(blockIdx.x));
  const WeightItem& item = table.items[i];
  const float* gamma = item.gamma(replica);
  if (!gamma) return;
  const int size = item.rows * item.cols, chunks = (size + kChunk - 1) / kChunk;
  const int begin = (static_cast<int>(blockIdx.x) - table.first_block[i]) * shares;
  float* dw = item.dw[replica];
  const float* wq = item.wq[replica];
  double* of_item = partial + (int64_t{replica} * gridDim.x + table.first_block[i]) * shares;
#pragma unroll 1
  for (int chunk = begin; chunk < min(begin + shares, chunks); ++chunk) {
    const int first = chunk * kChunk + static_cast<int>(threadIdx.x);
    float d[kValues] = {}, q[kValues] = {};
#pragma unroll
    for (int v = 0; v < kValues; ++v) {
      const int at = first + v * kQuantizeThreads;
      if (at < size) d[v] = dw[at], q[v] = wq[at];
    }
    double sum[1] = {0};
#pragma unroll
    for (int v = 0; v < kValues; ++v) {
      const int at = first + v * kQuantizeThreads;
      sum[0] += static_cast<double>(d[v]) * q[v];
      if (at < size) dw[at] = d[v] * magnitude(*gamma);
    }
    if (sum_over_blocks(sum, of_item, chunk, chunks, counters + replica * table.count + i))
      item.dtrained[replica][3] = *gamma != 0 ? static_cast<float>(sum[0] / *gamma) : 0.0f;
  }
}

// A warp's share is a row.
int64_t blocks_to_quantize(const WeightItem& item, int replicas) {
  constexpr int64_t kMost = 4096;
  const int64_t rows = item.only.rows ? item.only.most : item.rows;
  return std::min(ceil_div(rows, shares_of_a_block(replicas) * kRowsAtOnce), kMost);
}
int64_t blocks_with_gamma(const WeightItem& item, int shares) {
  return item.inputs ? ceil_div(int64_t{item.rows} * item.cols, shares * kChunk) : 0;
}

dim3 grid_of(const WeightTable& table, int replicas) {
  return {static_cast<unsigned>(table.blocks()), 1, static_cast<unsigned>(replicas)};
}

WeightSurveys survey_weights(const WeightTable& table, int passes, int replicas, const Lane& lane) {
  const auto count = [&](const Chunks& chunks) {
    return WeightSurveys{nullptr, chunks, passes}.chunks_before(table, table.count);
  };
  const Chunks chunks = chunks_for(lane.scratch_bytes, [&](const Chunks& c) { return replicas * passes * count(c); });
  const WeightSurveys surveys{lane.scratch_as<SurveyPart>(), chunks, passes};
  const dim3 grid(static_cast<unsigned>(count(chunks)), 1, static_cast<unsigned>(replicas));
  for (int pass = 0; pass < passes; ++pass)
    launch(survey_weights_kernel, grid, kSurveyThreads, 0, lane.stream, table, surveys, pass);
  return surveys;
}

}  // namespace

void CudaOps::quantize_weights(const QuantizeWeights& op) {
  if (op.items.empty()) return;
  int passes = 0;
  for (const QuantizeWeights::Item& item : op.items) passes = std::max(passes, item.slot.surveys);
  const Lane& lane = op.at_once ? main_ : fork();  // linear joins
  const int replicas = op.items[0].wq.replicas;
  const auto blocks = [&](const WeightItem& item) { return blocks_to_quantize(item, replicas); };
  for_weight_tables(op.items, blocks, [&](const WeightTable& table) {
    check(2 * replicas * table.count <= Lane::kCounters, "{} replicas of {} weights", replicas, table.count);
    const WeightSurveys surveys = survey_weights(table, passes, replicas, lane);
    launch(quantize_weights_kernel, grid_of(table, replicas), kQuantizeThreads, 0, lane.stream, table, surveys,
           lane.counters);
  });
}

void CudaOps::quantize_weights_grad(const QuantizeWeights& op) {
  if (op.items.empty()) return;
  const Lane& lane = fork();
  const int replicas = op.items[0].dw.replicas, shares = shares_of_a_block(replicas);
  const auto blocks = [&](const WeightItem& item) { return blocks_with_gamma(item, shares); };
  for_weight_tables(op.items, blocks, [&](const WeightTable& table) {
    check(replicas * table.count <= Lane::kCounters, "{} replicas of {} weights", replicas, table.count);
    const size_t bytes = sizeof(double) * replicas * table.blocks() * shares;
    check(bytes <= lane.scratch_bytes, "{} bytes of scratch, {} needed", lane.scratch_bytes, bytes);
    launch(quantize_weights_grad_kernel, grid_of(table, replicas), kQuantizeThreads, 0, lane.stream, table, shares,
           lane.scratch_as<double>(), lane.counters);
  });
}

}  // namespace mpq
