// y = dropout(activation(quantize_y(x w^T + bias) + adapter)): up to three Linears in one launch. A format of the
// product's output, or dropout behind many rows (no model has it), takes an elementwise kernel for the rest; an adapter
// takes the rest along.
#include <algorithm>

#include "cuda/adapter.cuh"
#include "cuda/linear_wide.h"
#include "cuda/quantize.cuh"

namespace mpq {

namespace {

template <class Shape, Precision kPrecision>
__global__ void __launch_bounds__(kThreadsOf<Shape>, kBlocksOf<Shape, kPrecision>)
    linear_kernel(const __grid_constant__ LinearArgs args) {
  begin_kernel();
  using Tile = Product<Shape, kPrecision, Along::row, Along::row>;
  const Tile product(shared_of<Tile>());
  const int r = blockIdx.z, rows = rows_of(args.ragged);
  const int row0 = static_cast<int>(blockIdx.x) / args.columns.total * kRowsOf<Shape>;
  if (row0 >= rows) return;
  const Shares::Share share = args.columns.at(static_cast<int>(blockIdx.x) % args.columns.total);
  const LinearProblem& p = args.problem[share.problem];
  const GemmSegment all{
      operand(p.x, r, rows), operand(p.w, r, p.w.rows), row0, share.block * kColsOf<Shape>, 0, p.x.cols};
  product.for_each_tile(all, [&](int col0, const TileSums& sums) {
    const int col = col0 + Tile::column();
    const float4 bias = p.bias ? load_four<Shape::kWhole>(p.bias, r, 0, col) : float4{};
    product.for_each_four(sums, [&](int m, float4 x) {
      const int row = row0 + m;
      if (row >= rows || col >= p.y.cols) return;
      const ActivatedFour a = activate(p.activation, x + bias);
      if (p.saved) store_four<Shape::kWhole>(p.saved, r, row, col, a.saved);
      store_four<Shape::kWhole>(p.y, r, row, col, a.y);
      store_copies(p.copies, r, row, col, a.y);
    });
  });
}

// What is left to do behind the quantizer of the product's output, in place; or, where there is no product, from x.
__global__ void finish_kernel(const __grid_constant__ LinearProblem p, const __grid_constant__ Ragged ragged) {
  begin_kernel();
  const int r = blockIdx.z;
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int row = static_cast<int>(i / p.y.cols), col = static_cast<int>(i % p.y.cols);
  if (row >= rows_of(ragged)) return;
  float* y = p.y.row(r, row) + col;
  const Activated a = finish(p, ragged, r, row, col, p.x ? p.x.row(r, row)[col] : *y);
  if (p.saved) p.saved.row(r, row)[col] = a.saved;
  *y = a.y;
}

bool finishes_apart(const Linear1& op) {
  return op.y_format || op.adapter || (op.dropout.p > 0 && op.ragged.longest > 1);
}

LinearProblem problem_of(const Linear1& op) {
  LinearProblem p{.x = matrices(op.x), .w = matrices(op.w), .bias = matrices(op.bias), .y = matrices(op.y)};
  if (finishes_apart(op)) return p;
  p.saved = matrices(op.saved);
  p.activation = op.activation;
  p.dropout = op.dropout;
  p.copies = ElementCopies(op.quantized);
  return p;
}
void launch_finish(const LinearProblem& problem, const Linear1& op, cudaStream_t stream) {
  constexpr int kThreads = 256;
  const auto blocks = static_cast<unsigned>(ceil_div(op.ragged.rows * op.y.cols(), kThreads));
  launch(finish_kernel, dim3(blocks, 1, op.y.replicas), kThreads, 0, stream, problem, op.ragged);
}
bool is_whole(const LinearProblem& p) {
  return p.x.cols % kDepth == 0 && p.x.vectors && p.w.vectors && p.y.vectors && (!p.bias || p.bias.vectors) &&
         (!p.saved || p.saved.vectors);
}

void launch_linear(LinearArgs args, int problems, int replicas, Precision precision, cudaStream_t stream) {
  const bool whole = std::all_of(args.problem, args.problem + problems, is_whole);
  with_tile(
      whole, args.problem[0].x.cols, precision,
      [&](auto shape) {
        args.columns = {};
        for (int p = 0; p < problems; ++p)
          args.columns.set(p, ceil_div(args.problem[p].y.cols, kColsOf<decltype(shape)>));
        return ceil_div(args.ragged.rows, kRowsOf<decltype(shape)>) * args.columns.total * replicas;
      },
      [&](auto shape, auto at, int64_t blocks) {
        using Tile = Product<decltype(shape), at, Along::row, Along::row>;
        launch(linear_kernel<decltype(shape), at>, dim3(static_cast<unsigned>(blocks / replicas), 1, replicas),
               kThreadsOf<decltype(shape)>, sizeof(typename Tile::Shared), stream, args);
      });
}

}  // namespace

void CudaOps::linear(std::span<const Linear1> ops) {
  join();  // with quantize_weights
  check(ops.size() <= kMostLinears, "{} Linears in one call", ops.size());
  const int problems = static_cast<int>(ops.size()), replicas = ops[0].y.replicas;
  LinearArgs args{.ragged = ops[0].ragged};
  for (int p = 0; p < problems; ++p) args.problem[p] = problem_of(ops[p]);
  if (args.ragged.longest == 1)
    linear_of_few_rows(args, problems, replicas, main_);
  else if (wide_->take(ops))
    wide_->output(args, problems, replicas);
  else
    launch_linear(args, problems, replicas, precision_, main_.stream);

  for (const Linear1& op : ops)
    if (op.y_format) quantize_in_place(op.y_format, op.y_rank, op.y, op.ragged, main_);
  add_adapters(ops, main_);
  for (size_t i = 0; i < ops.size(); ++i) {
    const Linear1& op = ops[i];
    if (finishes_apart(op) && !op.adapter) launch_finish(rest_of(op), op, main_.stream);
    if (args.problem[i].copies.count == 0) mpq::quantize_copies(op.quantized, op.y, op.ragged, main_);
  }
}

void CudaOps::activate(const Linear1& op) {
  LinearProblem problem = rest_of(op);
  problem.x = matrices(op.x);
  launch_finish(problem, op, main_.stream);
  mpq::quantize_copies(op.quantized, op.y, op.ragged, main_);
}

}  // namespace mpq
