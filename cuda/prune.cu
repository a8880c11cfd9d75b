// Pruned inputs of Linears and their gradient; masks of weights. A warp a row: the bits of kernels/prune.cpp.
#include <climits>

#include "cuda/cuda_ops.h"
#include "cuda/row.cuh"
#include "quant/prune_spec.h"
#include "quant/quantile.h"

namespace mpq {
namespace {

constexpr int kMost = 3;  // Linears that read one x
constexpr int kRows = 4;  // a block: as many warps

struct PruneArgs {
  Prune op[kMost];
};
struct PruneGradArgs {
  PruneGrad op[kMost];
  int count;
};

__device__ __forceinline__ const PruneSpec& spec_of(const Prune& op) {
  return op.slot.specs[blockIdx.z * op.slot.stride];
}

// visit(column): what this lane holds of a row, in the layout of row.cuh, four columns a group of 128.
template <class Visit>
__device__ __forceinline__ void for_row(int cols, Visit visit) {
  const int first = lane_id() % 16 + lane_id() / 16 * 64;
  for (int group = 0; group * 128 < cols; ++group)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (const int column = group * 128 + i * 16 + first; column < cols) visit(column);
}

// The magnitudes of a row by their order: in registers, or (kGroups 0) read again each time.
template <int kGroups>
struct RowOrders {
  Row<kGroups> row;
  int cols;
  __device__ __forceinline__ RowOrders(const float* x, int columns) : cols(columns) { row.load(x, columns); }
  template <class Visit>
  __device__ __forceinline__ void each(Visit visit) const {
    for_columns<kGroups>(cols, [&](int i, int) { visit(order_of(row.value[i])); });
  }
};
template <>
struct RowOrders<0> {
  const float* x;
  int cols;
  __device__ __forceinline__ RowOrders(const float* from, int columns) : x(from), cols(columns) {}
  template <class Visit>
  __device__ __forceinline__ void each(Visit visit) const {
    for (int column = lane_id(); column < cols; column += kWarp) visit(order_of(x[column]));
  }
};

// Every lane gets it.
template <int kGroups>
__device__ float threshold_of(const PruneSpec& spec, const float* x, int cols) {
  if (spec.method != PruneMethod::l1 || spec.sparsity == 0) return keep_all;
  const RowOrders<kGroups> orders(x, cols);
  const auto below = [&](uint32_t limit) {
    unsigned count = 0;
    orders.each([&](uint32_t order) { count += order < limit; });
    return static_cast<int64_t>(__reduce_add_sync(kAllLanes, count));
  };
  const auto least_from = [&](uint32_t limit) {
    unsigned least = UINT_MAX;
    orders.each([&](uint32_t order) { least = order >= limit ? min(least, order) : least; });
    return static_cast<uint32_t>(__reduce_min_sync(kAllLanes, least));
  };
  return quantile(spec.sparsity, cols, below, least_from);
}

__device__ __forceinline__ DropoutKey draw_key(const Prune& op) {
  const PruneSpec& spec = spec_of(op);
  if (spec.method != PruneMethod::random) return {};
  Dropout draw = op.draw;
  draw.p = spec.sparsity;
  return dropout_key(draw, static_cast<int>(blockIdx.z));
}

// visit(column, whether it is kept).
template <class Visit>
__device__ __forceinline__ void for_kept(const Prune& op, int row, float threshold, Visit visit) {
  const int cols = static_cast<int>(op.x.cols());
  const float* x = op.x.f32(blockIdx.z) + int64_t{row} * cols;
  const DropoutKey key = draw_key(op);
  if (!key.on) return for_row(cols, [&](int column) { visit(column, stays(x[column], threshold)); });
  const RowPlace place = warp_place_of(op.ragged, row);
  const uint32_t number = op.numbers ? op.numbers[place.sequence] : op.draw.first + place.sequence;
  const int lane = lane_id() % 16, upper = lane_id() / 16;
  for (int group = 0; group * 128 < cols; ++group) {
    const Philox all = dropout_bits(key, group, lane, place.position, number);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = group * 128 + i * 16 + lane + upper * 64;
      const uint32_t half = upper ? dropout_half(all, i + 4) : dropout_half(all, i);
      if (column < cols) visit(column, half >= key.threshold && stays(x[column], threshold));
    }
  }
}

constexpr int kBatchThreads = 1024;

// All threads get what join(a, b) makes of everybody's values.
template <class Join>
__device__ unsigned block_join(unsigned value, unsigned* shared, Join join) {
  const unsigned of_warp = join(value);
  __syncthreads();  // the result before was read
  if (lane_id() == 0) shared[warp_id()] = of_warp;
  __syncthreads();
  return join(shared[lane_id()]);
}

// A block a Linear and replica: thresholds of whole batches, the labs' way, are not what this program is fast at.
__global__ void __launch_bounds__(kBatchThreads) batch_threshold_kernel(const __grid_constant__ PruneArgs args) {
  begin_kernel();
  static_assert(kBatchThreads == kWarp * kWarp);
  __shared__ unsigned shared[kWarp];
  const Prune& op = args.op[blockIdx.y];
  const PruneSpec& spec = spec_of(op);
  const int64_t size = rows_of(op.ragged) * op.x.cols();
  if (!spec.over_batch() || size == 0) return;
  const float* x = op.x.f32(blockIdx.z);
  const auto below = [&](uint32_t limit) {
    unsigned count = 0;
    for (int64_t i = threadIdx.x; i < size; i += kBatchThreads) count += order_of(x[i]) < limit;
    return static_cast<int64_t>(block_join(count, shared, [](unsigned v) { return __reduce_add_sync(kAllLanes, v); }));
  };
  const auto least_from = [&](uint32_t limit) {
    unsigned least = UINT_MAX;
    for (int64_t i = threadIdx.x; i < size; i += kBatchThreads)
      least = order_of(x[i]) >= limit ? min(least, order_of(x[i])) : least;
    return static_cast<uint32_t>(block_join(least, shared, [](unsigned v) { return __reduce_min_sync(kAllLanes, v); }));
  };
  const float threshold = quantile(spec.sparsity, size, below, least_from);
  if (threadIdx.x == 0) op.batch_threshold.f32(blockIdx.z)[0] = threshold;
}

// grid (rows / kRows, Linears, R)
template <int kGroups>
__global__ void __launch_bounds__(kRows* kWarp) prune_kernel(const __grid_constant__ PruneArgs args) {
  begin_kernel();
  const Prune& op = args.op[blockIdx.y];
  const int row = static_cast<int>(blockIdx.x) * kRows + warp_id(), cols = static_cast<int>(op.x.cols());
  if (row >= rows_of(op.ragged)) return;
  const float* x = op.x.f32(blockIdx.z) + int64_t{row} * cols;
  float* pruned = op.pruned.f32(blockIdx.z) + int64_t{row} * cols;
  const PruneSpec& spec = spec_of(op);
  const float threshold =
      spec.over_batch() ? op.batch_threshold.f32(blockIdx.z)[0] : threshold_of<kGroups>(spec, x, cols);
  if (lane_id() == 0) op.threshold.f32(blockIdx.z)[row] = threshold;
  for_kept(op, row, threshold, [&](int column, bool kept) { pruned[column] = kept ? x[column] : 0.0f; });
}

__global__ void __launch_bounds__(kRows* kWarp) prune_grad_kernel(const __grid_constant__ PruneGradArgs args) {
  begin_kernel();
  const int row = static_cast<int>(blockIdx.x) * kRows + warp_id();
  if (row >= rows_of(args.op[0].forward.ragged)) return;
  for (int p = 0; p < args.count; ++p) {
    const PruneGrad& op = args.op[p];
    const int64_t at = int64_t{row} * op.dx.cols();
    const float* dpruned = op.dpruned.f32(blockIdx.z) + at;
    float* dx = op.dx.f32(blockIdx.z) + at;
    for_kept(op.forward, row, op.forward.threshold.f32(blockIdx.z)[row], [&](int column, bool kept) {
      const float d = kept ? dpruned[column] : 0.0f;
      dx[column] = op.accumulate ? dx[column] + d : d;  // a column is the same lane's for every op
    });
  }
}

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads)
    apply_mask_kernel(const __grid_constant__ Tensor mask, const __grid_constant__ Tensor to) {
  begin_kernel();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < to.shape.size() && !(mask.f32(blockIdx.z)[i] > 0)) to.f32(blockIdx.z)[i] = 0;
}

template <int kGroups>
void launch_prune(std::span<const Prune> ops, cudaStream_t stream) {
  PruneArgs args;
  for (size_t p = 0; p < ops.size(); ++p) args.op[p] = ops[p];
  if (ops[0].batch_threshold)
    launch(batch_threshold_kernel, dim3(1, ops.size(), ops[0].pruned.replicas), kBatchThreads, 0, stream, args);
  const dim3 grid(ceil_div(ops[0].x.rows(), kRows), ops.size(), ops[0].pruned.replicas);
  launch(prune_kernel<kGroups>, grid, kRows * kWarp, 0, stream, args);
}

}  // namespace

void CudaOps::prune(std::span<const Prune> ops) {
  check(!ops.empty() && ops.size() <= kMost, "{} pruned inputs in one call", ops.size());
  const int64_t cols = ops[0].x.cols();
  if (cols > kWidestRow) return launch_prune<0>(ops, main_.stream);
  for_width(cols, [&](auto groups) { launch_prune<groups>(ops, main_.stream); });
}

void CudaOps::prune_grad(std::span<const PruneGrad> ops) {
  check(!ops.empty() && ops.size() <= kMost, "{} pruned inputs in one call", ops.size());
  PruneGradArgs args{.count = static_cast<int>(ops.size())};
  for (size_t p = 0; p < ops.size(); ++p) args.op[p] = ops[p];
  const dim3 grid(ceil_div(ops[0].dx.rows(), kRows), 1, ops[0].dx.replicas);
  launch(prune_grad_kernel, grid, kRows * kWarp, 0, main_.stream, args);
}

// Weights are quantized, and have their gradients, on the side lane.
void CudaOps::apply_mask(const Tensor& mask, const Tensor& to) {
  const dim3 grid(ceil_div(to.shape.size(), kThreads), 1, to.replicas);
  launch(apply_mask_kernel, grid, kThreads, 0, fork().stream, mask, to);
}

}  // namespace mpq
