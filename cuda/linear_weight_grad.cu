// Gradients of the weights and biases of Linear layers: sums over the rows, up to three Linears in one launch.
#include "cuda/last_block.cuh"
#include "cuda/linear.cuh"

namespace mpq {

namespace {

// A sum over the rows is the sum of its chunks' sums in ascending order, whether one block takes all or each its own.
constexpr int kChunk = 256;
static_assert(kChunk % kDepth == 0);

struct WeightGradPlan {
  Operand dy, x;
  int n, k, first, last;  // rows
  __device__ int tiles() const { return static_cast<int>(ceil_div(last - first, kDepth)); }
  __device__ GemmTile operands(int t) const { return {dy, x, n, k, first + t * kDepth}; }
  __device__ bool ends(int t) const { return (t + 1) % (kChunk / kDepth) == 0 || t == tiles() - 1; }
};

struct Chunks {
  int first, last;  // rows
  int count;        // of the whole batch
  bool apart;       // each has a block of its own
};

template <class Shape, Precision kPrecision>
__device__ void weight_tile(const WeightGradArgs& args, const Chunks& chunks, int rows, void* shared) {
  using Product = Gemm<Shape, kPrecision, Along::column, Along::column>;
  using Sums = typename Product::Sums;
  const int r = blockIdx.z;
  const Shares::Share share = args.weights.at(blockIdx.x);
  const Matrices &dy = args.dy[share.problem], &x = args.x[share.problem], &dw = args.dw[share.problem];
  const int across = static_cast<int>(ceil_div(dw.cols, Shape::kN));
  const int n0 = share.block / across * Shape::kM, k0 = share.block % across * Shape::kN;

  Sums sums;
  Product(*static_cast<typename Product::Shared*>(shared))
      .run(WeightGradPlan{operand(dy, r, rows), operand(x, r, rows), n0, k0, chunks.first, chunks.last}, sums);
  if (chunks.apart) {
    const int64_t unit = int64_t{r} * args.weights.total + blockIdx.x;
    float4* parts = args.weight_sums + unit * args.chunks * Product::kParts * kGemmThreads;
    Product::save(sums, parts + int64_t{blockIdx.y} * Product::kParts * kGemmThreads);
    if (!arrives_last(args.counters + r * gridDim.x + blockIdx.x, chunks.count)) return;
    sums = Sums();
#pragma unroll 4
    for (int c = 0; c < chunks.count; ++c) sums.add(Product::saved(parts + c * Product::kParts * kGemmThreads));
  }
  Product::for_each_pair(sums, [&](int i, int j, float& first, float& second) {
    if (n0 + i < dw.rows) store_pair(dw, r, n0 + i, k0 + j, first, second);
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
  const int64_t weight_bytes = weights * chunks * SmallTile::kM * SmallTile::kN * sizeof(float),
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
