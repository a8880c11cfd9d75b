// Linears of single rows (the CLS-only layer, pooler, classifier), where a tile would be mostly empty: sums in float32,
// each in an order of its own that no other row has a part in.
#include "cuda/input_format.cuh"
#include "cuda/linear.cuh"

namespace mpq {

namespace {

__device__ float dot(float4 a, float4 b, float sum) {
  return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

// A warp computes one column for kRows rows, its lanes side by side along k.
constexpr int kRows = 8, kColumns = 8, kThreads = kColumns * kWarp;

__global__ void __launch_bounds__(kThreads) linear_few_kernel(const __grid_constant__ LinearArgs args) {
  begin_kernel();
  const int r = blockIdx.z, rows = rows_of(args.ragged), row0 = blockIdx.y * kRows;
  const Shares::Share share = args.columns.at(blockIdx.x);
  const LinearProblem& p = args.problem[share.problem];
  const int lane = threadIdx.x % kWarp, col = share.block * kColumns + threadIdx.x / kWarp;
  if (row0 >= rows || col >= p.y.cols) return;

  float sums[kRows] = {};
#pragma unroll 2
  for (int k = 4 * lane; k < p.x.cols; k += 4 * kWarp) {
    const float4 w = load_four(p.w, r, col, k);
#pragma unroll
    for (int m = 0; m < kRows; ++m) sums[m] = dot(load_four(p.x, r, min(row0 + m, rows - 1), k), w, sums[m]);
  }
  float product = 0;  // of row `lane`
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
    const float sum = warp_sum(sums[m]);
    if (lane == m) product = sum;
  }
  if (lane >= kRows || row0 + lane >= rows) return;
  const Activated a = finish(p, args.ragged, r, row0 + lane, col, product);
  if (p.saved) p.saved.row(r, row0 + lane)[col] = a.saved;
  p.y.row(r, row0 + lane)[col] = a.y;
  store_copies(p.copies, r, row0 + lane, col, a.y);
}

// A block computes 32 columns of dx for kInputRows rows; its warps share out the outputs, four at a time.
constexpr int kInputRows = 4, kInputWarps = 16;

__device__ void add_outputs(const Matrices& dy, const Matrices& w, int row0, int rows, int k,
                            float (&sums)[kInputRows]) {
  const int r = blockIdx.z;
#pragma unroll 2
  for (int n = 4 * (threadIdx.x / kWarp); n < dy.cols; n += 4 * kInputWarps) {
    float column[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) column[e] = n + e < w.rows && k < w.cols ? w.row(r, n + e)[k] : 0.0f;
#pragma unroll
    for (int m = 0; m < kInputRows; ++m)
      sums[m] =
          dot(load_four(dy, r, min(row0 + m, rows - 1), n), {column[0], column[1], column[2], column[3]}, sums[m]);
  }
}

constexpr int kGradThreads = kInputWarps * kWarp;

__device__ void input_grad(const InputGradArgs& args) {
  __shared__ float parts[kInputWarps][kInputRows][kWarp];
  const int r = blockIdx.z, rows = rows_of(args.ragged), row0 = blockIdx.y * kInputRows;
  if (row0 >= rows) return;
  const Shares::Share share = args.columns.at(blockIdx.x);
  const InputSum& sum = args.sum[share.problem];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, k = share.block * kWarp + lane;
  const bool mine = warp < kInputRows && row0 + warp < rows && k < sum.dx.cols;  // the element this thread writes
  float* dx = sum.dx.row(r, row0 + warp) + k;

  float total = mine && sum.accumulate ? *dx : 0.0f;
  for (int p = sum.first; p < sum.last; ++p) {
    float sums[kInputRows] = {};
    add_outputs(args.dy[p], args.w[p], row0, rows, k, sums);
    for (int m = 0; m < kInputRows; ++m) parts[warp][m][lane] = sums[m];
    __syncthreads();
    float product = 0;
    if (mine) {
      for (int i = 0; i < kInputWarps; ++i) product += parts[i][warp][lane];
      with_format_gradient(args.format[p], r,
                           [&](const auto& gradient) { total += gradient.one(row0 + warp, k, product); });
    }
    __syncthreads();
  }
  if (!mine) return;
  if (sum.activation != Activation::none) total *= activation_slope(sum.activation, sum.saved.row(r, row0 + warp)[k]);
  *dx = total;
}

// A thread computes four neighbouring elements of dw, or one of dbias: the rows in ascending order.
__device__ void weight_grad(const WeightGradArgs& args, const Shares::Share& share, int rows) {
  const Matrices &dy = args.dy[share.problem], &x = args.x[share.problem], &dw = args.dw[share.problem];
  const int r = blockIdx.z, i = share.block * kGradThreads + threadIdx.x,
            across = static_cast<int>(ceil_div(dw.cols, 4));
  const int n = i / across, k = i % across * 4;
  if (n >= dw.rows) return;
  float4 sum = {};
#pragma unroll 8
  for (int row = 0; row < rows; ++row) {
    const float g = dy.row(r, row)[n];
    const float4 v = load_four(x, r, row, k);
    sum = {fmaf(g, v.x, sum.x), fmaf(g, v.y, sum.y), fmaf(g, v.z, sum.z), fmaf(g, v.w, sum.w)};
  }
  store_four(dw, r, n, k, sum);
}
__device__ void bias_grad(const WeightGradArgs& args, const Shares::Share& share, int rows) {
  const int r = blockIdx.z, n = share.block * kGradThreads + threadIdx.x;
  const Matrices &dy = args.dy[share.problem], &dbias = args.dbias[share.problem];
  if (n >= dbias.cols) return;
  float sum = 0;
#pragma unroll 8
  for (int row = 0; row < rows; ++row) sum += dy.row(r, row)[n];
  dbias.row(r, 0)[n] = sum;
}
// All gradients of up to three Linears in one launch: blocks of dx, then of dw, then of dbias.
__global__ void __launch_bounds__(kGradThreads, 2)
    grad_few_kernel(const __grid_constant__ InputGradArgs inputs, const __grid_constant__ WeightGradArgs args) {
  begin_kernel();
  const int rows = rows_of(args.ragged), block = static_cast<int>(blockIdx.x) - inputs.columns.total;
  if (block < 0)
    input_grad(inputs);
  else if (blockIdx.y > 0)
    return;
  else if (block < args.weights.total)
    weight_grad(args, args.weights.at(block), rows);
  else
    bias_grad(args, args.biases.at(block - args.weights.total), rows);
}

unsigned groups(const Ragged& ragged, int rows) { return static_cast<unsigned>(ceil_div(ragged.rows, rows)); }

}  // namespace

void linear_of_few_rows(LinearArgs args, int problems, int replicas, const Lane& lane) {
  for (int p = 0; p < problems; ++p) args.columns.set(p, ceil_div(args.problem[p].y.cols, kColumns));
  launch(linear_few_kernel, dim3(args.columns.total, groups(args.ragged, kRows), replicas), kThreads, 0, lane.stream,
         args);
}

void linear_grad_of_few_rows(InputGradArgs inputs, WeightGradArgs weights, int problems, int replicas,
                             const Lane& lane) {
  for (int s = 0; s < inputs.sums; ++s) inputs.columns.set(s, ceil_div(inputs.sum[s].dx.cols, kWarp));
  for (int p = 0; p < problems; ++p) {
    const Matrices &dw = weights.dw[p], &dbias = weights.dbias[p];
    if (dw) weights.weights.set(p, ceil_div(dw.rows * ceil_div(dw.cols, 4), kGradThreads));
    if (dbias) weights.biases.set(p, ceil_div(dbias.cols, kGradThreads));
  }
  launch(grad_few_kernel,
         dim3(inputs.columns.total + weights.weights.total + weights.biases.total, groups(weights.ragged, kInputRows),
              replicas),
         kGradThreads, 0, lane.stream, inputs, weights);
}

}  // namespace mpq
