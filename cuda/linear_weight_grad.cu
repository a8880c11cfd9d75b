// Gradients of the weights and biases of Linear layers: sums over the rows, up to three Linears in one launch.
#include "cuda/last_block.cuh"
#include "cuda/linear.cuh"

namespace mpq {

namespace {

// A sum over the rows is the sum of its chunks' sums in ascending order, whether one block takes all or each its own.
constexpr int kChunk = 256;
static_assert(kChunk % kDepth == 0);

struct Chunks {
  int first, last;  // rows
  int count;        // of the whole batch
  bool apart;       // each has a block of its own
};

template <class Shape, Precision kPrecision>
__device__ void weight_tile(const WeightGradArgs& args, const Chunks& chunks, int rows, void* shared) {
  using Product = Gemm<Shape, kPrecision, Along::column, Along::column>;
  using Sums = typename Product::Sums;
  struct Plan {
    const Matrices &dy, &x, &dw;
    Chunks chunks;
    int replica, rows, n0, k0;
    Sums& total;

    __device__ int segments() const { return static_cast<int>(ceil_div(chunks.last - chunks.first, kChunk)); }
    __device__ GemmSegment segment(int i) const {
      const int first = chunks.first + i * kChunk;
      return {operand(dy, replica, rows), operand(x, replica, rows), n0, k0, first, min(first + kChunk, chunks.last)};
    }
    __device__ void finish(int, const Sums& sums) const { total.add(sums); }
  };
  const int r = blockIdx.z;
  const Shares::Share share = args.weights.at(blockIdx.x);
  const Matrices& dw = args.dw[share.problem];
  const int across = static_cast<int>(ceil_div(dw.cols, Shape::kN));
  Sums total;
  const Plan plan{args.dy[share.problem],
                  args.x[share.problem],
                  dw,
                  chunks,
                  r,
                  rows,
                  share.block / across * Shape::kM,
                  share.block % across * Shape::kN,
                  total};
  Product(*static_cast<typename Product::Shared*>(shared)).run(plan);
  if (chunks.apart) {
    constexpr int kPart = Product::kParts * kGemmThreads;
    float4* parts = args.weight_sums + (int64_t{r} * args.weights.total + blockIdx.x) * args.chunks * kPart;
    Product::save(total, parts + int64_t{blockIdx.y} * kPart);
    if (!arrives_last(args.counters + r * gridDim.x + blockIdx.x, chunks.count)) return;
    total = Sums();
#pragma unroll 4
    for (int c = 0; c < chunks.count; ++c) total.add(Product::saved(parts + c * kPart));
  }
  Product::for_each_pair(total, [&](int m, int n, float first, float second) {
    if (plan.n0 + m < dw.rows) store_pair(dw, r, plan.n0 + m, plan.k0 + n, first, second);
  });
}

constexpr int kBiasColumns = kWarp;  // a block
constexpr int kBiasLanes = kGemmThreads / (kBiasColumns / 4);

// The sum over one chunk of column col0 + threadIdx.x, in threads 0 ... 31.
__device__ float bias_chunk(const Matrices& dy, int col0, int first, int rows) {
  __shared__ float4 parts[kBiasLanes][kBiasColumns / 4];
  const int lane = threadIdx.x / (kBiasColumns / 4), vector = threadIdx.x % (kBiasColumns / 4);
  float4 sum = {};
#pragma unroll
  for (int i = lane; i < kChunk; i += kBiasLanes) {
    const float4 v = first + i < rows ? load_four(dy, blockIdx.z, first + i, col0 + 4 * vector) : float4{};
    sum = {sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
  }
  __syncthreads();  // the chunk before has been read
  parts[lane][vector] = sum;
  __syncthreads();
  float total = 0;
  if (threadIdx.x < kBiasColumns)
    for (int i = 0; i < kBiasLanes; ++i) total += reinterpret_cast<const float*>(parts[i])[threadIdx.x];
  return total;
}

__device__ void bias_columns(const WeightGradArgs& args, const Chunks& chunks, int rows) {
  const int r = blockIdx.z, block = static_cast<int>(blockIdx.x) - args.weights.total;
  const Shares::Share share = args.biases.at(block);
  const Matrices& dbias = args.dbias[share.problem];
  const int col0 = share.block * kBiasColumns, thread = threadIdx.x;
  float sum = 0;
  for (int first = chunks.first; first < chunks.last; first += kChunk)
    sum += bias_chunk(args.dy[share.problem], col0, first, rows);
  if (chunks.apart) {
    float* parts = args.bias_sums + (int64_t{r} * args.biases.total + block) * args.chunks * kBiasColumns;
    if (thread < kBiasColumns) parts[blockIdx.y * kBiasColumns + thread] = sum;
    if (!arrives_last(args.counters + r * gridDim.x + blockIdx.x, chunks.count)) return;
    sum = 0;
    if (thread < kBiasColumns)
      for (int c = 0; c < chunks.count; ++c) sum += __ldcg(parts + c * kBiasColumns + thread);
  }
  if (thread < kBiasColumns && col0 + thread < dbias.rows) dbias.row(r, 0)[col0 + thread] = sum;
}

template <class Shape, Precision kPrecision>
__global__ void __launch_bounds__(kGemmThreads) weight_grad_kernel(const __grid_constant__ WeightGradArgs args) {
  begin_kernel();
  extern __shared__ uint4 shared[];
  const int rows = rows_of(args.ragged), first = blockIdx.y * kChunk;
  if (first >= rows) return;
  const Chunks chunks{first, args.chunks > 0 ? min(first + kChunk, rows) : rows,
                      static_cast<int>(ceil_div(rows, kChunk)), args.chunks > 0 && rows > kChunk};
  if (static_cast<int>(blockIdx.x) < args.weights.total)
    weight_tile<Shape, kPrecision>(args, chunks, rows, shared);
  else
    bias_columns(args, chunks, rows);
}

template <class Shape>
void share_weights(WeightGradArgs& args) {
  args.weights = args.biases = {};
  for (int p = 0; p < kMostLinears; ++p) {
    const Matrices &dw = args.dw[p], &dbias = args.dbias[p];
    if (dw) args.weights.set(p, ceil_div(dw.rows, Shape::kM) * ceil_div(dw.cols, Shape::kN));
    if (dbias) args.biases.set(p, ceil_div(dbias.rows, kBiasColumns));
  }
}

// A block for every chunk where the tiles alone are few, as far as the scratch memory goes.
void share_chunks(WeightGradArgs& args, int replicas, const Lane& lane) {
  const int64_t chunks = ceil_div(args.ragged.rows, kChunk), weights = int64_t{args.weights.total} * replicas,
                biases = int64_t{args.biases.total} * replicas;
  const int64_t weight_bytes = weights * chunks * SmallTile::kM * SmallTile::kN * int64_t{sizeof(float)},
                bias_bytes = biases * chunks * kBiasColumns * sizeof(float);
  if (weights >= kEnoughBlocks || weights + biases > Lane::kCounters ||
      weight_bytes + bias_bytes > static_cast<int64_t>(lane.scratch_bytes))
    return;
  args.chunks = static_cast<int>(chunks);
  args.weight_sums = lane.scratch_as<float4>();
  args.bias_sums = lane.scratch_as<float>() + weight_bytes / sizeof(float);
  args.counters = lane.counters;
}

template <class Shape, Precision kPrecision>
void launch_weight_grad(const WeightGradArgs& args, int replicas, cudaStream_t stream) {
  const dim3 grid(args.weights.total + args.biases.total, args.chunks > 0 ? args.chunks : 1, replicas);
  launch(weight_grad_kernel<Shape, kPrecision>, grid, kGemmThreads,
         sizeof(GemmShared<Shape, Along::column, Along::column>), stream, args);
}
template <Precision kPrecision>
void launch_weight_grad(WeightGradArgs args, int replicas, const Lane& lane) {
  share_weights<LargeTile>(args);
  if (int64_t{args.weights.total} * replicas >= kEnoughBlocks)
    return launch_weight_grad<LargeTile, kPrecision>(args, replicas, lane.stream);
  share_weights<SmallTile>(args);
  share_chunks(args, replicas, lane);
  launch_weight_grad<SmallTile, kPrecision>(args, replicas, lane.stream);
}

}  // namespace

void weight_grad(const WeightGradArgs& args, int replicas, Precision precision, const Lane& lane) {
  with_precision(precision, [&](auto p) { launch_weight_grad<p>(args, replicas, lane); });
}

}  // namespace mpq
