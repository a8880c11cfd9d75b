// Gradients of Linear layers. dy becomes the gradient of the product's output; dx is the main chain's; dw and dbias
// (linear_weight_grad.cu) run beside it on the side lane. Every kernel serves up to three Linears.
#include "cuda/input_format.cuh"
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
  begin_kernel();
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

// One segment a Linear, in their order.
template <class Shape, Precision kPrecision>
__global__ void __launch_bounds__(kGemmThreads) input_grad_kernel(const __grid_constant__ InputGradArgs args) {
  begin_kernel();
  using Product = Gemm<Shape, kPrecision, Along::row, Along::column>;
  struct Plan {
    const InputGradArgs& args;
    const InputSum& sum;
    int replica, rows, row0, col0;
    __device__ int segments() const { return sum.last - sum.first; }
    __device__ GemmSegment segment(int i) const {
      const Matrices &dy = args.dy[sum.first + i], &w = args.w[sum.first + i];
      return {operand(dy, replica, rows), operand(w, replica, w.rows), row0, col0, 0, dy.cols};
    }
    __device__ void finish(int i, typename Product::Sums& sums) const {
      const bool add = i > 0 || sum.accumulate;
      with_format_gradient(args.format[sum.first + i], replica, [&](const auto& gradient) {
        Product::for_each_pair(sums, [&](int m, int n, float first, float second) {
          const int row = row0 + m, col = col0 + n;
          if (row >= rows) return;
          float2 d = gradient.pair(row, col, {first, second});
          if (add) {
            const float2 before = load_pair(sum.dx, replica, row, col);
            d.x += before.x, d.y += before.y;
          }
          if (sum.activation != Activation::none) {
            const float2 saved = load_pair(sum.saved, replica, row, col);
            d.x *= activation_slope(sum.activation, saved.x), d.y *= activation_slope(sum.activation, saved.y);
          }
          store_pair(sum.dx, replica, row, col, d.x, d.y);
        });
      });
    }
  };
  extern __shared__ uint4 shared[];
  const int rows = rows_of(args.ragged), row0 = static_cast<int>(blockIdx.x) / args.columns.total * Shape::kM;
  if (row0 >= rows) return;
  const Shares::Share share = args.columns.at(static_cast<int>(blockIdx.x) % args.columns.total);
  Product(*reinterpret_cast<typename Product::Shared*>(shared))
      .run(Plan{args, args.sum[share.problem], static_cast<int>(blockIdx.z), rows, row0, share.block * Shape::kN});
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
    if (op.dx.data != current)
      args.sum[args.sums++] = {matrices(op.dx), op.accumulate,       problems,
                               problems,        op.input_activation, matrices(op.input_saved)};
    current = op.dx.data;
    args.dy[problems] = matrices(op.dy);
    args.w[problems] = matrices(op.forward.w);
    if (const InputFormat& f = op.input_format) args.format[problems] = {f.slot, matrices(f.values), matrices(f.dxq)};
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
template <class Shape, Precision kPrecision>
void launch_input_grad(const InputGradArgs& args, int64_t blocks, int replicas, cudaStream_t stream) {
  launch(input_grad_kernel<Shape, kPrecision>, dim3(static_cast<unsigned>(blocks), 1, replicas), kGemmThreads,
         sizeof(GemmShared<Shape, Along::row, Along::column>), stream, args);
}
template <Precision kPrecision>
void launch_input_grad(InputGradArgs args, int replicas, cudaStream_t stream) {
  if (const int64_t blocks = share_columns<LargeTile>(args); blocks * replicas >= kEnoughBlocks)
    launch_input_grad<LargeTile, kPrecision>(args, blocks, replicas, stream);
  else
    launch_input_grad<SmallTile, kPrecision>(args, share_columns<SmallTile>(args), replicas, stream);
}

void input_grad(const InputGradArgs& args, int replicas, Precision precision, cudaStream_t stream) {
  with_precision(precision, [&](auto p) { launch_input_grad<p>(args, replicas, stream); });
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

}  // namespace

void CudaOps::linear_grad(std::span<const Linear1Grad> ops) {
  check(ops.size() <= kMostLinears, "{} Linears in one call", ops.size());
  const int problems = static_cast<int>(ops.size()), replicas = ops[0].dy.replicas;
  output_grad(ops, main_.stream);
  const InputGradArgs inputs = input_grad_args(ops);
  const WeightGradArgs weights = weight_grad_args(ops);
  if (weights.ragged.longest == 1) return linear_grad_of_few_rows(inputs, weights, problems, replicas, main_);
  const Lane& side = fork();
  if (inputs.sums > 0) input_grad(inputs, replicas, precision_, main_.stream);
  weight_grad(weights, replicas, precision_, side);
}

}  // namespace mpq
