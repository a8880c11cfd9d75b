// Gradients of Linear layers. dy becomes the gradient of the product's output; dx is the main chain's; dw and dbias
// (linear_weight_grad.cu) run beside it on the side lane. Every kernel serves up to three Linears.
#include "cuda/adapter.cuh"
#include "cuda/input_format.cuh"
#include "cuda/linear_wide.h"

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

// One Linear after the other, each complete before it is added: the same sum where they come in calls of their own.
template <class Shape, Precision kPrecision>
__global__ void __launch_bounds__(kThreadsOf<Shape>, kBlocksOf<Shape, kPrecision>)
    input_grad_kernel(const __grid_constant__ InputGradArgs args) {
  begin_kernel();
  using Tile = Product<Shape, kPrecision, Along::row, Along::column>;
  const Tile product(shared_of<Tile>());
  const int r = blockIdx.z, rows = rows_of(args.ragged);
  const int row0 = static_cast<int>(blockIdx.x) / args.columns.total * kRowsOf<Shape>;
  if (row0 >= rows) return;
  const Shares::Share share = args.columns.at(static_cast<int>(blockIdx.x) % args.columns.total);
  const InputSum& s = args.sum[share.problem];
  for (int i = s.first; i < s.last; ++i) {
    const Matrices &dy = args.dy[i], &w = args.w[i];
    const GemmSegment all{operand(dy, r, rows), operand(w, r, w.rows), row0, share.block * kColsOf<Shape>, 0, dy.cols};
    product.for_each_tile(all, [&](int col0, const TileSums& sums) {
      const int col = col0 + Tile::column();
      with_format_gradient(args.format[i], r, [&](const auto& gradient) {
        product.for_each_four(sums, [&](int m, float4 dxq) {
          const int row = row0 + m;
          if (row >= rows || col >= s.dx.cols) return;
          float4 dx = gradient.template four<Shape::kWhole>(row, col, dxq);
          if (i > s.first || s.accumulate) dx = load_four<Shape::kWhole>(s.dx, r, row, col) + dx;
          if (i + 1 == s.last && s.activation != Activation::none)
            dx = dx * activation_slope(s.activation, load_four<Shape::kWhole>(s.saved, r, row, col));
          store_four<Shape::kWhole>(s.dx, r, row, col, dx);
        });
      });
    });
  }
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

bool is_whole(const InputGradArgs& args) {
  for (int i = 0; i < args.sums; ++i) {
    const InputSum& s = args.sum[i];
    if (!s.dx.vectors || (s.saved && !s.saved.vectors)) return false;
    for (int p = s.first; p < s.last; ++p)
      if (args.dy[p].cols % kDepth != 0 || !args.dy[p].vectors || !args.w[p].vectors ||
          (args.format[p].slot && !(args.format[p].values.vectors && args.format[p].dxq.vectors)))
        return false;
  }
  return true;
}

void input_grad(InputGradArgs args, int replicas, Precision precision, cudaStream_t stream) {
  with_tile(
      is_whole(args), args.dy[0].cols, precision,
      [&](auto shape) {
        args.columns = {};
        for (int i = 0; i < args.sums; ++i)
          args.columns.set(i, ceil_div(args.sum[i].dx.cols, kColsOf<decltype(shape)>));
        return ceil_div(args.ragged.rows, kRowsOf<decltype(shape)>) * args.columns.total * replicas;
      },
      [&](auto shape, auto at, int64_t blocks) {
        using Tile = Product<decltype(shape), at, Along::row, Along::column>;
        launch(input_grad_kernel<decltype(shape), at>, dim3(static_cast<unsigned>(blocks / replicas), 1, replicas),
               kThreadsOf<decltype(shape)>, sizeof(typename Tile::Shared), stream, args);
      });
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

void CudaOps::activate_grad(const Linear1Grad& op) { output_grad({&op, 1}, main_.stream); }

void CudaOps::linear_grad(std::span<const Linear1Grad> ops) {
  check(ops.size() <= kMostLinears, "{} Linears in one call", ops.size());
  const int problems = static_cast<int>(ops.size()), replicas = ops[0].dy.replicas;
  const bool few = ops[0].forward.ragged.longest == 1, wide = !few && wide_->take(ops);
  if (ops[0].dy.dtype == DType::bf16 && !wide) {
    check(ops.size() == 1, "{} Linears with a gradient in bf16", ops.size());
    Linear1Grad op = ops[0];
    widen(op.dy, op.forward.ragged, main_.stream);
    op.dy.dtype = DType::f32;
    return linear_grad({&op, 1});
  }
  output_grad(ops, main_.stream);
  const InputGradArgs inputs = input_grad_args(ops);
  const WeightGradArgs weights = weight_grad_args(ops);
  if (few) {
    linear_grad_of_few_rows(inputs, weights, problems, replicas, main_);
  } else if (wide) {  // all on one lane: both would want the whole GPU
    wide_->gradients(ops, replicas);
  } else {
    const Lane& side = fork();
    if (inputs.sums > 0) input_grad(inputs, replicas, precision_, main_.stream);
    weight_grad(weights, replicas, precision_, side);
  }
  const auto has_adapter = [](const Linear1Grad& op) { return bool(op.forward.adapter); };
  if (std::none_of(ops.begin(), ops.end(), has_adapter)) return;
  adapter_input_grad(ops, main_);
  adapter_weight_grad(ops, fork());
}

}  // namespace mpq
