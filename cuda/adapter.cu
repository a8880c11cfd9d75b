#include "cuda/adapter.cuh"

#include "cuda/last_block.cuh"
#include "cuda/row.cuh"

namespace mpq {
namespace {

constexpr int kRows = 8, kWarps = 8, kThreads = kWarps * kWarp;  // rows of a block

struct Operands {
  float* values = nullptr;
  int64_t replica_stride = 0, begin = 0;
  const AdapterRank* ranks = nullptr;
  Matrices x{}, dropped{}, low{};
  Dropout dropout{};
  int outputs = 0;  // N
};
Operands operands_of(const Linear1& op) {
  const Adapter& a = op.adapter;
  return {a.values.f32(),
          a.values.replica_stride,
          a.begin,
          a.ranks,
          matrices(a.x),
          matrices(a.dropped),
          matrices(a.low),
          a.dropout,
          static_cast<int>(op.y.cols())};
}

struct ForwardArgs {
  Ragged ragged;
  struct Problem {
    Operands adapter;
    LinearProblem rest;
  } problem[kMostLinears];
};
struct InputGradOfAdapters {
  Ragged ragged;
  struct Problem {
    Operands adapter;
    Matrices dy{}, dlow{}, dx{};
  } problem[kMostLinears];
  int problems = 0;
};

// One replica's matrices.
struct LowRank {
  float scale;
  Matrices a, b;  // [rank, K] [rank, N]
};
__device__ __forceinline__ LowRank low_rank(const Operands& p, int replica) {
  const AdapterRank of = p.ranks[replica];
  float* a = p.values + replica * p.replica_stride + of.rank * p.begin;
  float* b = a + int64_t{of.rank} * p.x.cols;
  return {of.scale,
          {a, 0, of.rank, p.x.cols, p.x.cols % 4 == 0 && aligned(a)},
          {b, 0, of.rank, p.outputs, p.outputs % 4 == 0 && aligned(b)}};
}

// low = scale * from p^T for the rows of this block: its warps share out the rank, their lanes lie along p's rows.
__device__ __forceinline__ void project(const Matrices& from, const Matrices& p, float scale, const Matrices& low,
                                        int row0, int rows) {
  const int r = blockIdx.z, lane = lane_id();
  for (int j = warp_id(); j < p.rows; j += kWarps) {
    float sums[kRows] = {};
    for (int k = 4 * lane; k < p.cols; k += 4 * kWarp) {
      const float4 w = load_four(p, 0, j, k);
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        const float4 x = load_four(from, r, min(row0 + m, rows - 1), k);
        sums[m] = fmaf(x.w, w.w, fmaf(x.z, w.z, fmaf(x.y, w.y, fmaf(x.x, w.x, sums[m]))));
      }
    }
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      const float sum = warp_sum(sums[m]);
      if (lane == m && row0 + m < rows) low.row(r, row0 + m)[j] = scale * sum;
    }
  }
}

// visit(row, group) for the rows of this block, a warp for each 128 columns: laid out as dropout draws them (row.cuh),
// so that a lane has four columns of the group.
template <class Visit>
__device__ __forceinline__ void for_groups(int cols, int row0, int rows, Visit visit) {
  const int pairs = kRows * static_cast<int>(ceil_div(cols, 128));
  for (int i = warp_id(); i < pairs; i += kWarps)
    if (row0 + i % kRows < rows) visit(row0 + i % kRows, i / kRows);
}
__device__ __forceinline__ int column_of(int group, int i) {
  return group * 128 + lane_id() % 16 + lane_id() / 16 * 64 + 16 * i;
}

__device__ __forceinline__ void factors_of(const Dropout& dropout, const Ragged& ragged, int row, int group,
                                           float (&factors)[4]) {
  const RowPlace place = warp_place_of(ragged, row);
  dropout_factors(dropout_key(dropout, blockIdx.z), group, place.position,
                  dropout.first + static_cast<uint32_t>(place.sequence), factors);
}

__device__ __forceinline__ void drop_input(const Operands& p, const Ragged& ragged, int row0, int rows) {
  for_groups(p.x.cols, row0, rows, [&](int row, int group) {
    float factors[4];
    factors_of(p.dropout, ragged, row, group, factors);
    const float* from = p.x.row(blockIdx.z, row);
    float* to = p.dropped.row(blockIdx.z, row);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (const int column = column_of(group, i); column < p.x.cols) to[column] = from[column] * factors[i];
  });
}

// sums[i] = low of the row times column i of p, ranks in ascending order.
__device__ __forceinline__ void expand(const float* low, const Matrices& p, int group, float (&sums)[4]) {
  for (float& sum : sums) sum = 0;
#pragma unroll 4
  for (int j = 0; j < p.rows; ++j) {
    const float u = low[j];
    const float* from = p.row(0, j);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (const int column = column_of(group, i); column < p.cols) sums[i] = fmaf(u, from[column], sums[i]);
  }
}

__global__ void __launch_bounds__(kThreads) adapter_kernel(const __grid_constant__ ForwardArgs args) {
  begin_kernel();
  const int r = blockIdx.z, rows = rows_of(args.ragged), row0 = static_cast<int>(blockIdx.x) * kRows;
  if (row0 >= rows) return;
  const ForwardArgs::Problem& p = args.problem[blockIdx.y];
  const LowRank w = low_rank(p.adapter, r);
  if (p.adapter.dropout.p > 0) drop_input(p.adapter, args.ragged, row0, rows);
  __syncthreads();
  project(p.adapter.dropped, w.a, w.scale, p.adapter.low, row0, rows);
  __syncthreads();
  for_groups(w.b.cols, row0, rows, [&](int row, int group) {
    float sums[4];
    expand(p.adapter.low.row(r, row), w.b, group, sums);
    float* y = p.rest.y.row(r, row);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = column_of(group, i);
      if (column >= w.b.cols) continue;
      const Activated a = finish(p.rest, args.ragged, r, row, column, y[column] + sums[i]);
      if (p.rest.saved) p.rest.saved.row(r, row)[column] = a.saved;
      y[column] = a.y;
    }
  });
}

// An element of dx is one thread's for all Linears that add to it.
__global__ void __launch_bounds__(kThreads)
    adapter_input_grad_kernel(const __grid_constant__ InputGradOfAdapters args) {
  begin_kernel();
  const int r = blockIdx.z, rows = rows_of(args.ragged), row0 = static_cast<int>(blockIdx.x) * kRows;
  if (row0 >= rows) return;
  for (int i = 0; i < args.problems; ++i) {
    const InputGradOfAdapters::Problem& p = args.problem[i];
    const LowRank w = low_rank(p.adapter, r);
    project(p.dy, w.b, w.scale, p.dlow, row0, rows);
    __syncthreads();
    if (!p.dx) continue;
    for_groups(w.a.cols, row0, rows, [&](int row, int group) {
      float sums[4], factors[4] = {1, 1, 1, 1};
      expand(p.dlow.row(r, row), w.a, group, sums);
      if (p.adapter.dropout.p > 0) factors_of(p.adapter.dropout, args.ragged, row, group, factors);
      float* dx = p.dx.row(r, row);
#pragma unroll
      for (int c = 0; c < 4; ++c)
        if (const int column = column_of(group, c); column < w.a.cols) dx[column] += sums[c] * factors[c];
    });
  }
}

// to = low^T from [rank, cols], a sum over the rows: of their chunks in ascending order, whether each has a block of
// its own or one block takes all.
constexpr int kChunk = 64;

struct WeightSums {
  Ragged ragged;
  struct Sum {
    Matrices low{}, from{};
    float* to = nullptr;
    int64_t replica_stride = 0, begin = 0;  // at rank * begin
    const AdapterRank* ranks = nullptr;
  } sum[2 * kMostLinears];
  int sums = 0, blocks = 0;  // blocks of each sum
  bool apart = false;
  float4* parts = nullptr;  // [R][sums * blocks][chunks][kThreads]
  uint32_t* counters = nullptr;
};

__global__ void __launch_bounds__(kThreads) adapter_weight_grad_kernel(const __grid_constant__ WeightSums args) {
  begin_kernel();
  const int r = blockIdx.z, rows = rows_of(args.ragged), first = static_cast<int>(blockIdx.y) * kChunk;
  if (first >= rows) return;
  const WeightSums::Sum& s = args.sum[blockIdx.x / args.blocks];
  const int rank = s.ranks[r].rank, across = static_cast<int>(ceil_div(s.from.cols, 4));
  const int block0 = static_cast<int>(blockIdx.x) % args.blocks * kThreads, at = block0 + static_cast<int>(threadIdx.x);
  if (block0 >= rank * across) return;  // of a larger replica
  const int j = at / across, column = at % across * 4;
  const bool mine = j < rank;
  const auto chunk_sum = [&](int begin) {
    float4 sum = {};
#pragma unroll 8
    for (int row = begin; row < min(begin + kChunk, rows); ++row) {
      const float u = s.low.row(r, row)[j];
      const float4 v = load_four(s.from, r, row, column);
      sum = {fmaf(u, v.x, sum.x), fmaf(u, v.y, sum.y), fmaf(u, v.z, sum.z), fmaf(u, v.w, sum.w)};
    }
    return sum;
  };
  float4 total = {};
  if (args.apart) {
    const int chunks = static_cast<int>(ceil_div(rows, kChunk));
    float4* parts = args.parts + (int64_t{r} * gridDim.x + blockIdx.x) * gridDim.y * kThreads + threadIdx.x;
    if (mine) parts[int64_t{blockIdx.y} * kThreads] = chunk_sum(first);
    if (!arrives_last(args.counters + r * gridDim.x + blockIdx.x, chunks)) return;
    if (!mine) return;
#pragma unroll 4
    for (int chunk = 0; chunk < chunks; ++chunk) total = total + __ldcg(parts + int64_t{chunk} * kThreads);
  } else {
    if (!mine) return;
    for (int begin = 0; begin < rows; begin += kChunk) total = total + chunk_sum(begin);
  }
  float* to = s.to + r * s.replica_stride + rank * s.begin + int64_t{j} * s.from.cols + column;
  const float four[4] = {total.x, total.y, total.z, total.w};
  for (int i = 0; i < 4 && column + i < s.from.cols; ++i) to[i] = four[i];
}

dim3 grid_of(const Ragged& ragged, int problems, int replicas) {
  return dim3(static_cast<unsigned>(ceil_div(ragged.rows, kRows)), problems, replicas);
}

void add_sum(WeightSums& args, const Linear1Grad& op, const Tensor& low, const Tensor& from, int64_t begin) {
  const Adapter& adapter = op.forward.adapter;
  args.sum[args.sums++] = {matrices(low), matrices(from), op.dadapter.f32(), op.dadapter.replica_stride,
                           begin,         adapter.ranks};
  const auto blocks = static_cast<int>(ceil_div(low.cols() * ceil_div(from.cols(), 4), kThreads));
  args.blocks = std::max(args.blocks, blocks);
}

}  // namespace

void add_adapters(std::span<const Linear1> ops, const Lane& lane) {
  ForwardArgs args{.ragged = ops[0].ragged};
  int problems = 0;
  for (const Linear1& op : ops)
    if (op.adapter) args.problem[problems++] = {operands_of(op), rest_of(op)};
  launch(adapter_kernel, grid_of(args.ragged, problems, ops[0].y.replicas), kThreads, 0, lane.stream, args);
}

void adapter_input_grad(std::span<const Linear1Grad> ops, const Lane& lane) {
  InputGradOfAdapters args{.ragged = ops[0].forward.ragged};
  for (const Linear1Grad& op : ops)
    if (op.forward.adapter)
      args.problem[args.problems++] = {operands_of(op.forward), matrices(op.dy), matrices(op.dlow), matrices(op.dx)};
  launch(adapter_input_grad_kernel, grid_of(args.ragged, args.problems > 0 ? 1 : 0, ops[0].dy.replicas), kThreads, 0,
         lane.stream, args);
}

void adapter_weight_grad(std::span<const Linear1Grad> ops, const Lane& lane) {
  WeightSums args{.ragged = ops[0].forward.ragged};
  for (const Linear1Grad& op : ops) {
    if (!op.dadapter) continue;
    const Adapter& adapter = op.forward.adapter;
    add_sum(args, op, op.dlow, adapter.dropped, adapter.begin);
    add_sum(args, op, adapter.low, op.dy, adapter.begin + adapter.x.cols());
  }
  const int replicas = ops[0].dy.replicas;
  const int64_t all = int64_t{args.sums} * args.blocks, chunks = ceil_div(args.ragged.rows, kChunk);
  const int64_t bytes = all * replicas * chunks * kThreads * int64_t{sizeof(float4)};
  args.apart = all * replicas <= Lane::kCounters && bytes <= static_cast<int64_t>(lane.scratch_bytes);
  args.parts = lane.scratch_as<float4>();
  args.counters = lane.counters;
  launch(adapter_weight_grad_kernel, dim3(static_cast<unsigned>(all), args.apart ? chunks : 1, replicas), kThreads, 0,
         lane.stream, args);
}

}  // namespace mpq
