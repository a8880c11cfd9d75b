// Gradients of what the formats of inputs train, many Linears in one launch (tensor/ops.h, QuantizeGrad).
#include "cuda/block_sums.cuh"
#include "cuda/item_blocks.cuh"
#include "cuda/matrices.cuh"
#include "cuda/quantize.cuh"

namespace mpq {

namespace {

constexpr int kThreads = 256, kValues = 4;  // values of a thread under way at once
constexpr int kRows = 16;                   // of a chunk, which has a sum of its own
constexpr int kMostTrained = 3;

struct TrainedFormats : ItemBlocks {
  struct Item {
    Ragged ragged;
    QuantSlot slot;
    Matrices values, dxq;
    Tensor dtrained;
  } items[kItems];
};
static_assert(sizeof(TrainedFormats) <= 32000, "kernel arguments take 32,764 bytes");

// sums[l] += what this thread's values of `count` add to the gradients of what the format trains.
template <class Rule>
__device__ void add_gradients(const Rule& rule, const float* x, const float* dxq, int64_t count,
                              double (&sums)[kMostTrained]) {
  for (int64_t first = threadIdx.x; first < count; first += kValues * kThreads) {
    float from[kValues], d[kValues];
#pragma unroll
    for (int v = 0; v < kValues; ++v)
      if (first + v * kThreads < count) from[v] = x[first + v * kThreads], d[v] = dxq[first + v * kThreads];
#pragma unroll
    for (int v = 0; v < kValues; ++v) {
      if (first + v * kThreads >= count) continue;
      float dtrained[kMostTrained];
      rule.gradient(from[v], d[v], dtrained);
      for (int l = 0; l < kMostTrained; ++l) sums[l] += dtrained[l];
    }
  }
}

// A block takes so many `shares`, chunks of rows. grid (blocks of all items, 1, R). partial: [R][chunks of the
// bucket][kMostTrained]; the chunks that are there are summed in order, so that the bucket does not matter.
__global__ void __launch_bounds__(kThreads) quantize_grad_kernel(const __grid_constant__ TrainedFormats table,
                                                                 int shares, double* partial, uint32_t* counters) {
  begin_kernel();
  const int replica = static_cast<int>(blockIdx.z), i = table.find(static_cast<int>(blockIdx.x));
  const TrainedFormats::Item& item = table.items[i];
  const QuantSpec& spec = spec_of(item.slot, replica);
  if (gradient_is_identity(spec)) return;
  const int rows = rows_of(item.ragged), chunks = static_cast<int>(ceil_div(rows, kRows));
  double* of_item = partial + (int64_t{replica} * gridDim.x + table.first_block[i]) * shares * kMostTrained;
  const int begin = (static_cast<int>(blockIdx.x) - table.first_block[i]) * shares;
#pragma unroll 1
  for (int chunk = begin; chunk < min(begin + shares, chunks); ++chunk) {
    const int first = chunk * kRows;
    double sums[kMostTrained] = {};
    visit(spec, [&](const auto& format) {
      using F = std::remove_cvref_t<decltype(format)>;
      if constexpr (TrainedFormat<F>) {
        static_assert(F::max_trained == kMostTrained);
        add_gradients(format.rule(trained_of(item.slot, replica)), item.values.row(replica, first),
                      item.dxq.row(replica, first), int64_t{min(kRows, rows - first)} * item.dxq.cols, sums);
      }
    });
    if (sum_over_blocks(sums, of_item, chunk, chunks, counters + replica * table.count + i))
      for (int l = 0; l < trained_count(spec); ++l) item.dtrained.f32(replica)[l] = static_cast<float>(sums[l]);
  }
}

}  // namespace

void CudaOps::quantize_grad(const QuantizeGrad& op) {
  if (op.items.empty()) return;
  const Lane& lane = fork();
  const int replicas = op.items[0].dtrained.replicas, shares = shares_of_a_block(replicas);
  for (size_t first = 0; first < op.items.size(); first += TrainedFormats::kItems) {
    TrainedFormats table;
    for (const auto& item :
         op.items.subspan(first, std::min<size_t>(TrainedFormats::kItems, op.items.size() - first))) {
      table.items[table.count] = {item.ragged, item.format.slot, matrices(item.format.values),
                                  matrices(item.format.dxq), item.dtrained};
      table.add(ceil_div(item.ragged.rows, shares * kRows));
    }
    const size_t bytes = sizeof(double) * kMostTrained * shares * table.blocks() * replicas;
    check(bytes <= lane.scratch_bytes, "{} bytes of scratch, {} needed", lane.scratch_bytes, bytes);
    check(replicas * table.count <= Lane::kCounters, "{} replicas of {} formats", replicas, table.count);
    launch(quantize_grad_kernel, dim3(table.blocks(), 1, replicas), kThreads, 0, lane.stream, table, shares,
           lane.scratch_as<double>(), lane.counters);
  }
}

}  // namespace mpq
