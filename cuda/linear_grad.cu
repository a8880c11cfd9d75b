// Gradients of Linear layers. dy becomes the gradient of the product's output; dx is the main chain's; dw and dbias run
// beside it on the side lane. Every kernel serves up to three Linears.
#include "cuda/linear.cuh"

namespace mpq {

namespace {

// dy *= dropout, then the activation's slope.
struct OutputGradArgs {
  Ragged ragged;
  struct Problem {
    Matrices dy{}, saved{};
    Activation activation = Activation::none;
    Dropout dropout{};
  } problem[kMostLinears] = {};
  Shares blocks{};
};
constexpr int kElementThreads = 256;

__device__ float output_grad(const OutputGradArgs::Problem& p, const Ragged& ragged, int replica, int64_t i, float dy,
                             float saved) {
  if (p.dropout.p > 0)
    dy *= dropout_at(p.dropout, ragged, replica, static_cast<int>(i / p.dy.cols), static_cast<int>(i % p.dy.cols));
  return dy * activation_slope(p.activation, saved);
}

__global__ void output_grad_kernel(const __grid_constant__ OutputGradArgs args) {
  const Shares::Share share = args.blocks.at(blockIdx.x);
  const OutputGradArgs::Problem& p = args.problem[share.problem];
  const int r = blockIdx.z;
  const int64_t first = (int64_t{share.block} * kElementThreads + threadIdx.x) * 4;
  const int64_t size = int64_t{rows_of(args.ragged)} * p.dy.cols;
  float* dy = p.dy.row(r, 0);
  const float* saved = p.saved ? p.saved.row(r, 0) : dy;
  if (p.dy.vectors && first < size) {
    const float4 g = *reinterpret_cast<const float4*>(dy + first), s = *reinterpret_cast<const float4*>(saved + first);
    *reinterpret_cast<float4*>(dy + first) = {
        output_grad(p, args.ragged, r, first, g.x, s.x), output_grad(p, args.ragged, r, first + 1, g.y, s.y),
        output_grad(p, args.ragged, r, first + 2, g.z, s.z), output_grad(p, args.ragged, r, first + 3, g.w, s.w)};
    return;
  }
  for (int64_t i = first; i < min(first + 4, size); ++i) dy[i] = output_grad(p, args.ragged, r, i, dy[i], saved[i]);
}

// One segment a Linear, in their order: tiles of k along the outputs.
struct InputGradPlan {
  const InputGradArgs& args;
  const InputSum& sum;
  int replica, rows, row, col;

  struct Place {
    int problem, tile;
  };
  __device__ int tiles_of(int problem) const { return static_cast<int>(ceil_div(args.dy[problem].cols, kDepth)); }
  __device__ Place locate(int t) const {
    int p = sum.first;
    while (t >= tiles_of(p)) t -= tiles_of(p++);
    return {p, t};
  }
  __device__ int tiles() const {
    int total = 0;
    for (int p = sum.first; p < sum.last; ++p) total += tiles_of(p);
    return total;
  }
  __device__ GemmTile operands(int t) const {
    const Place place = locate(t);
    const Matrices &dy = args.dy[place.problem], &w = args.w[place.problem];
    return {operand(dy, replica, rows), operand(w, replica, w.rows), row, col, place.tile * kDepth};
  }
  __device__ bool ends(int t) const {
    const Place place = locate(t);
    return place.tile == tiles_of(place.problem) - 1;
  }
};

template <class Shape, int kTerms>
__global__ void __launch_bounds__(kGemmThreads) input_grad_kernel(const __grid_constant__ InputGradArgs args) {
  using Product = Gemm<Shape, kTerms, Along::row, Along::column>;
  extern __shared__ uint4 shared[];
  const int r = blockIdx.z, rows = rows_of(args.ragged);
  const int row0 = static_cast<int>(blockIdx.x) / args.columns.total * Shape::kM;
  if (row0 >= rows) return;
  const Shares::Share share = args.columns.at(static_cast<int>(blockIdx.x) % args.columns.total);
  const InputSum& sum = args.sum[share.problem];
  const int col0 = share.block * Shape::kN;

  typename Product::Sums sums;
  if (sum.accumulate)
    Product::for_each_pair(sums, [&](int i, int j, float& first, float& second) {
      const float* dx = sum.dx.row(r, row0 + i) + col0 + j;
      if (row0 + i < rows && col0 + j < sum.dx.cols) first = dx[0];
      if (row0 + i < rows && col0 + j + 1 < sum.dx.cols) second = dx[1];
    });
  Product(*reinterpret_cast<typename Product::Shared*>(shared))
      .run(InputGradPlan{args, sum, r, rows, row0, col0}, sums);
  Product::for_each_pair(sums, [&](int i, int j, float& first, float& second) {
    if (row0 + i < rows) store_pair(sum.dx, r, row0 + i, col0 + j, first, second);
  });
}

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

// Whether this block is the last of `count` to come here; then it sees what the others wrote before.
__device__ bool is_last(uint32_t* counter, int count) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicInc(counter, count - 1) == static_cast<uint32_t>(count - 1);  // back to zero
  __syncthreads();
  __threadfence();
  return last;
}

struct Chunks {
  int first, last;  // rows
  int count;        // of the whole batch
  bool apart;       // each has a block of its own
};

template <class Shape, int kTerms>
__device__ void weight_grad(const WeightGradArgs& args, const Chunks& chunks, int rows, void* shared) {
  using Product = Gemm<Shape, kTerms, Along::column, Along::column>;
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
    if (!is_last(args.counters + r * gridDim.x + blockIdx.x, chunks.count)) return;
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
    if (first + i >= rows) break;
    const float4 v = load_four(dy, blockIdx.z, first + i, col0 + 4 * vector);
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

__device__ void bias_grad(const WeightGradArgs& args, const Chunks& chunks, int rows) {
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
    if (!is_last(args.counters + r * gridDim.x + blockIdx.x, chunks.count)) return;
    sum = 0;
    if (thread < kBiasColumns)
      for (int c = 0; c < chunks.count; ++c) sum += __ldcg(parts + c * kBiasColumns + thread);
  }
  if (thread < kBiasColumns && col0 + thread < dbias.rows) dbias.row(r, 0)[col0 + thread] = sum;
}

template <class Shape, int kTerms>
__global__ void __launch_bounds__(kGemmThreads) weight_grad_kernel(const __grid_constant__ WeightGradArgs args) {
  extern __shared__ uint4 shared[];
  const int rows = rows_of(args.ragged), first = blockIdx.y * kChunk;
  if (first >= rows) return;
  const Chunks chunks{first, args.chunks > 0 ? min(first + kChunk, rows) : rows,
                      static_cast<int>(ceil_div(rows, kChunk)), args.chunks > 0 && rows > kChunk};
  if (static_cast<int>(blockIdx.x) < args.weights.total)
    weight_grad<Shape, kTerms>(args, chunks, rows, shared);
  else
    bias_grad(args, chunks, rows);
}

void output_grad(std::span<const Linear1Grad> ops, cudaStream_t stream) {
  OutputGradArgs args{.ragged = ops[0].forward.ragged};
  for (size_t p = 0; p < ops.size(); ++p) {
    const Linear1& f = ops[p].forward;
    if (f.activation == Activation::none && f.dropout.p <= 0) continue;
    const Matrices saved = f.activation == Activation::none ? Matrices{} : matrices(f.saved);
    args.problem[p] = {matrices(ops[p].dy), saved, f.activation, f.dropout};
    args.problem[p].dy.vectors &= !saved || saved.vectors;
    args.blocks.set(static_cast<int>(p), ceil_div(f.ragged.rows * ops[p].dy.cols(), kElementThreads * 4));
  }
  launch(output_grad_kernel, dim3(args.blocks.total, 1, ops[0].dy.replicas), kElementThreads, 0, stream, args);
}

// Linears whose input wants no gradient are left out; those that add into the same dx follow each other.
InputGradArgs input_grad_args(std::span<const Linear1Grad> ops) {
  InputGradArgs args{.ragged = ops[0].forward.ragged};
  int problems = 0;
  const void* current = nullptr;
  for (const Linear1Grad& op : ops) {
    if (!op.dx) continue;
    if (op.dx.data != current) args.sum[args.sums++] = {matrices(op.dx), op.accumulate, problems, problems};
    current = op.dx.data;
    args.dy[problems] = matrices(op.dy);
    args.w[problems] = matrices(op.forward.w);
    args.sum[args.sums - 1].last = ++problems;
  }
  return args;
}

template <class Shape>
int64_t share_columns(InputGradArgs& args) {
  args.columns = {};
  for (int s = 0; s < args.sums; ++s) args.columns.set(s, ceil_div(args.sum[s].dx.cols, Shape::kN));
  return ceil_div(args.ragged.rows, Shape::kM) * args.columns.total;
}
template <class Shape, int kTerms>
void launch_input_grad(const InputGradArgs& args, int64_t blocks, int replicas, cudaStream_t stream) {
  launch(input_grad_kernel<Shape, kTerms>, dim3(static_cast<unsigned>(blocks), 1, replicas), kGemmThreads,
         sizeof(GemmShared<Shape, kTerms, Along::row, Along::column>), stream, args);
}
template <int kTerms>
void launch_input_grad(InputGradArgs args, int replicas, cudaStream_t stream) {
  if (const int64_t blocks = share_columns<LargeTile>(args); blocks * replicas >= kEnoughBlocks)
    launch_input_grad<LargeTile, kTerms>(args, blocks, replicas, stream);
  else
    launch_input_grad<SmallTile, kTerms>(args, share_columns<SmallTile>(args), replicas, stream);
}

WeightGradArgs weight_grad_args(std::span<const Linear1Grad> ops) {
  WeightGradArgs args{.ragged = ops[0].forward.ragged};
  for (size_t p = 0; p < ops.size(); ++p) {
    args.dy[p] = matrices(ops[p].dy);
    args.x[p] = matrices(ops[p].forward.x);
    args.dw[p] = matrices(ops[p].dw);
    args.dbias[p] = matrices(ops[p].dbias);
  }
  return args;
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

template <class Shape, int kTerms>
void launch_weight_grad(const WeightGradArgs& args, int replicas, cudaStream_t stream) {
  const dim3 grid(args.weights.total + args.biases.total, args.chunks > 0 ? args.chunks : 1, replicas);
  launch(weight_grad_kernel<Shape, kTerms>, grid, kGemmThreads,
         sizeof(GemmShared<Shape, kTerms, Along::column, Along::column>), stream, args);
}
template <int kTerms>
void launch_weight_grad(WeightGradArgs args, int replicas, const Lane& lane) {
  share_weights<LargeTile>(args);
  if (int64_t{args.weights.total} * replicas >= kEnoughBlocks)
    return launch_weight_grad<LargeTile, kTerms>(args, replicas, lane.stream);
  share_weights<SmallTile>(args);
  share_chunks(args, replicas, lane);
  launch_weight_grad<SmallTile, kTerms>(args, replicas, lane.stream);
}

template <int kTerms>
void launch_grads(const InputGradArgs& inputs, const WeightGradArgs& weights, int replicas, const Lane& main,
                  const Lane& side) {
  if (inputs.sums > 0) launch_input_grad<kTerms>(inputs, replicas, main.stream);
  launch_weight_grad<kTerms>(weights, replicas, side);
}

}  // namespace

void CudaOps::linear_grad(std::span<const Linear1Grad> ops) {
  check(ops.size() <= kMostLinears, "{} Linears in one call", ops.size());
  const int problems = static_cast<int>(ops.size()), replicas = ops[0].dy.replicas;
  output_grad(ops, main_.stream);
  const InputGradArgs inputs = input_grad_args(ops);
  const WeightGradArgs weights = weight_grad_args(ops);
  const Lane& side = fork();
  if (weights.ragged.longest == 1) {
    if (inputs.sums > 0) input_grad_of_few_rows(inputs, replicas, main_);
    weight_grad_of_few_rows(weights, problems, replicas, side);
  } else if (terms_of(precision_) == 3) {
    launch_grads<3>(inputs, weights, replicas, main_, side);
  } else if (terms_of(precision_) == 2) {
    launch_grads<2>(inputs, weights, replicas, main_, side);
  } else {
    launch_grads<1>(inputs, weights, replicas, main_, side);
  }
}

}  // namespace mpq
