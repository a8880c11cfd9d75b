// Gradients of the weights and biases of Linear layers: sums over the rows, up to three Linears in one launch.
#include <vector>

#include "cuda/chunk_sums.cuh"
#include "cuda/last_block.cuh"

namespace mpq {

namespace {

// A sum over the rows is the sum of its chunks' sums in ascending order, whether one block takes all or each its own.
constexpr int kChunk = 256;

struct Chunks {
  int first, last;  // rows
  int count;        // of the whole batch
  bool meet;        // each has a block of its own, and the last one adds them
  int to;           // which of the results is the block's
};

template <class Shape, Precision kPrecision>
__device__ void weight_tile(const WeightGradArgs& args, const Chunks& chunks, int rows) {
  using Tile = Product<Shape, kPrecision, Along::column, Along::column>;
  const Tile product(shared_of<Tile>());
  const int r = blockIdx.z;
  const Shares::Share share = args.weights.at(blockIdx.x);
  const Matrices &dy = args.dy[share.problem], &x = args.x[share.problem], &dw = args.dw[share.problem];
  const int across = static_cast<int>(ceil_div(dw.cols, kColsOf<Shape>));
  const int row0 = share.block / across * kRowsOf<Shape>, col0 = share.block % across * kColsOf<Shape>;
  const int col = col0 + Tile::column();
  const auto segment = [&](int first, int last) {
    return GemmSegment{operand(dy, r, rows), operand(x, r, rows), row0, col0, first, last};
  };
  const auto sum_of = [&](int first) { return product.run(segment(first, min(first + kChunk, chunks.last))); };
  const auto store = [&](int m, float4 sum) {
    if (row0 + m < dw.rows) store_four<Shape::kWhole>(dw, chunks.to, row0 + m, col, sum);
  };
  if constexpr (Shape::kStaged) {
    product.for_each_four(product.run(segment(chunks.first, chunks.last), kChunk), store);
  } else if constexpr (Shape::kSplit == 1) {
    TileSums total;
    for (int first = chunks.first; first < chunks.last; first += kChunk) total.add(sum_of(first));
    product.for_each_four(total, store);
  } else {
    const TileSums sums = sum_of(chunks.first);
    if (!chunks.meet) return product.for_each_four(sums, store);
    constexpr int kFours = kRowsOf<Shape> * kColsOf<Shape> / 4;
    float4* parts = args.weight_sums + (int64_t{r} * args.weights.total + blockIdx.x) * args.chunks * kFours;
    const auto part = [&](int chunk, int m) {
      return parts + chunk * kFours + (m * kColsOf<Shape> + Tile::column()) / 4;
    };
    product.for_each_four(sums, [&](int m, float4 sum) { *part(blockIdx.y, m) = sum; });
    if (!arrives_last(args.counters + r * gridDim.x + blockIdx.x, chunks.count)) return;
    product.for_each_row([&](int m) {
      float4 total = {};
#pragma unroll 4
      for (int c = 0; c < chunks.count; ++c) total = total + __ldcg(part(c, m));
      store(m, total);
    });
  }
}

constexpr int kBiasColumns = kWarp;  // a block
constexpr int kBiasThreads = 128;    // of any block: they decide the order of a sum
constexpr int kBiasLanes = kBiasThreads / (kBiasColumns / 4);

// The sum over one chunk of column col0 + threadIdx.x, in threads 0 ... 31.
__device__ float bias_chunk(const Matrices& dy, int col0, int first, int rows) {
  __shared__ float4 parts[kBiasLanes][kBiasColumns / 4];
  const int lane = threadIdx.x / (kBiasColumns / 4), vector = threadIdx.x % (kBiasColumns / 4);
  float4 sum = {};
#pragma unroll
  for (int i = lane; i < kChunk && threadIdx.x < kBiasThreads; i += kBiasLanes) {
    const float4 v = first + i < rows ? load_four(dy, blockIdx.z, first + i, col0 + 4 * vector) : float4{};
    sum = {sum.x + v.x, sum.y + v.y, sum.z + v.z, sum.w + v.w};
  }
  __syncthreads();  // the chunk before has been read
  if (threadIdx.x < kBiasThreads) parts[lane][vector] = sum;
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
  if (chunks.meet) {
    float* parts = args.bias_sums + (int64_t{r} * args.biases.total + block) * args.chunks * kBiasColumns;
    if (thread < kBiasColumns) parts[blockIdx.y * kBiasColumns + thread] = sum;
    if (!arrives_last(args.counters + r * gridDim.x + blockIdx.x, chunks.count)) return;
    sum = 0;
    if (thread < kBiasColumns)
      for (int c = 0; c < chunks.count; ++c) sum += __ldcg(parts + c * kBiasColumns + thread);
  }
  if (thread < kBiasColumns && col0 + thread < dbias.cols) dbias.row(chunks.to, 0)[col0 + thread] = sum;
}

template <class Shape, Precision kPrecision>
__global__ void __launch_bounds__(kThreadsOf<Shape>, Shape::kStaged ? kBlocksOf<Shape, kPrecision> : 1)
    weight_grad_kernel(const __grid_constant__ WeightGradArgs args) {
  begin_kernel();
  const int rows = rows_of(args.ragged), first = blockIdx.y * kChunk, r = blockIdx.z;
  if (first >= rows) return;
  const Chunks chunks{.first = first,
                      .last = args.chunks > 0 ? min(first + kChunk, rows) : rows,
                      .count = static_cast<int>(ceil_div(rows, kChunk)),
                      .meet = args.chunks > 0 && !args.leaves && rows > kChunk,
                      .to = args.leaves ? r * args.chunks + static_cast<int>(blockIdx.y) : r};
  if (static_cast<int>(blockIdx.x) < args.weights.total)
    weight_tile<Shape, kPrecision>(args, chunks, rows);
  else
    bias_columns(args, chunks, rows);
}

template <class Shape>
int64_t share_weights(WeightGradArgs& args) {
  args.weights = args.biases = {};
  for (int p = 0; p < kMostLinears; ++p) {
    const Matrices &dw = args.dw[p], &dbias = args.dbias[p];
    if (dw) args.weights.set(p, ceil_div(dw.rows, kRowsOf<Shape>) * ceil_div(dw.cols, kColsOf<Shape>));
    if (dbias) args.biases.set(p, ceil_div(dbias.cols, kBiasColumns));
  }
  return args.weights.total;
}

int chunks_of(const WeightGradArgs& args) { return static_cast<int>(ceil_div(args.ragged.rows, kChunk)); }

// A block for every chunk of every tile, whose sums meet, as far as the scratch memory goes.
bool share_chunks(WeightGradArgs& args, int replicas, const Lane& lane) {
  const int64_t chunks = chunks_of(args), weights = int64_t{args.weights.total} * replicas,
                biases = int64_t{args.biases.total} * replicas;
  const int64_t weight_bytes = weights * chunks * kRowsOf<SmallTile> * kColsOf<SmallTile> * int64_t{sizeof(float)},
                bias_bytes = biases * chunks * kBiasColumns * int64_t{sizeof(float)};
  if (weights + biases > Lane::kCounters || weight_bytes + bias_bytes > static_cast<int64_t>(lane.scratch_bytes))
    return false;
  args.chunks = static_cast<int>(chunks);
  args.weight_sums = lane.scratch_as<float4>();
  args.bias_sums = lane.scratch_as<float>() + weight_bytes / sizeof(float);
  args.counters = lane.counters;
  return true;
}

// The same, but dw and dbias of every chunk stay in the scratch memory: what is to be added then. Nothing where they do
// not fit.
std::vector<ChunkSums> leave_chunks(WeightGradArgs& args, int replicas, const Lane& lane) {
  args.chunks = chunks_of(args);
  args.leaves = true;
  std::vector<ChunkSums> sums;
  int64_t floats = 0;
  const auto leave = [&](Matrices& m) {
    const int64_t size = int64_t{m.rows} * m.cols;
    float* of_chunks = lane.scratch_as<float>() + floats;
    sums.push_back({.sums = of_chunks,
                    .total = m.data,
                    .size = size,
                    .stride = m.replica_stride,
                    .chunks = args.chunks,
                    .rows = kChunk});
    m.data = of_chunks, m.replica_stride = size;
    floats += size * args.chunks * replicas;
    return m.vectors;
  };
  for (Matrices* results : {args.dw, args.dbias})
    for (int p = 0; p < kMostLinears; ++p)
      if (results[p] && !leave(results[p])) return {};
  if (floats * int64_t{sizeof(float)} > static_cast<int64_t>(lane.scratch_bytes)) return {};
  return sums;
}

bool is_whole(const WeightGradArgs& args) {
  for (int p = 0; p < kMostLinears; ++p)
    if (args.dw[p] && !(args.dw[p].vectors && args.dy[p].vectors && args.x[p].vectors)) return false;
  return true;
}

template <class Shape, Precision kPrecision>
void launch_weight_grad(const WeightGradArgs& args, int replicas, cudaStream_t stream) {
  const dim3 grid(args.weights.total + args.biases.total, args.chunks > 0 ? args.chunks : 1, replicas);
  using Tile = Product<Shape, kPrecision, Along::column, Along::column>;
  launch(weight_grad_kernel<Shape, kPrecision>, grid, kThreadsOf<Shape>, sizeof(typename Tile::Shared), stream, args);
}
// Large tiles, a block for every chunk: of long batches, where one for every tile would leave the GPU idle.
bool weight_grad_by_chunks(WeightGradArgs args, int replicas, const Lane& lane) {
  if (share_weights<StagedTile>(args) * chunks_of(args) * replicas < kEnoughBlocks) return false;
  const std::vector<ChunkSums> sums = leave_chunks(args, replicas, lane);
  if (sums.empty()) return false;
  launch_weight_grad<StagedTile, Precision::bf16>(args, replicas, lane.stream);
  add_chunks(args.ragged, sums, replicas, lane.stream);
  return true;
}

template <Precision kPrecision>
void launch_weight_grad(WeightGradArgs args, int replicas, const Lane& lane) {
  const bool whole = is_whole(args);
  const bool few = share_weights<SquareTile>(args) * replicas < kEnoughBlocks / 2;
  if (kPrecision == Precision::bf16 && whole && few && weight_grad_by_chunks(args, replicas, lane)) return;
  if (whole && few && (share_weights<SmallTile>(args), share_chunks(args, replicas, lane)))
    return launch_weight_grad<SmallTile, kPrecision>(args, replicas, lane.stream);
  if constexpr (kPrecision == Precision::bf16)
    if (whole && share_weights<StagedTile>(args) * replicas >= kEnoughBlocks / 2)
      return launch_weight_grad<StagedTile, kPrecision>(args, replicas, lane.stream);
  share_weights<SquareTile>(args);
  whole ? launch_weight_grad<SquareTile, kPrecision>(args, replicas, lane.stream)
        : launch_weight_grad<OddTile, kPrecision>(args, replicas, lane.stream);
}

}  // namespace

void weight_grad(const WeightGradArgs& args, int replicas, Precision precision, const Lane& lane) {
  with_precision(precision, [&](auto p) { launch_weight_grad<p>(args, replicas, lane); });
}

}  // namespace mpq
