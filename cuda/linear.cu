// y = dropout(activation(quantize_y(x w^T + bias))): up to three Linears in one launch. A format of the product's
// output takes the quantizer and an elementwise kernel in between.
#include "cuda/linear.cuh"
#include "cuda/quantize.cuh"

namespace mpq {

namespace {

template <class Shape, Precision kPrecision>
__global__ void __launch_bounds__(kGemmThreads) linear_kernel(const __grid_constant__ LinearArgs args) {
  begin_kernel();
  using Product = Gemm<Shape, kPrecision, Along::row, Along::row>;
  struct Plan {
    const LinearArgs& args;
    const LinearProblem& p;
    int replica, rows, row0, col0;
    __device__ int segments() const { return 1; }
    __device__ GemmSegment segment(int) const {
      return {operand(p.x, replica, rows), operand(p.w, replica, p.w.rows), row0, col0, 0, p.x.cols};
    }
    __device__ void finish(int, typename Product::Sums& sums) const {
      if (p.bias) {
        const float* bias = p.bias.row(replica, 0);
        Product::add_to_columns(sums, [&](int n) { return col0 + n < p.y.cols ? bias[col0 + n] : 0.0f; });
      }
      Product::for_each_pair(sums, [&](int m, int n, float first, float second) {
        const int row = row0 + m, col = col0 + n;
        if (row >= rows || col >= p.y.cols) return;
        Activated a = activate(p.activation, first), b = activate(p.activation, second);
        if (p.dropout.p > 0) {
          a.y *= dropout_at(p.dropout, args.ragged, replica, row, col);
          b.y *= dropout_at(p.dropout, args.ragged, replica, row, col + 1);
        }
        if (p.saved) store_pair(p.saved, replica, row, col, a.saved, b.saved);
        store_pair(p.y, replica, row, col, a.y, b.y);
      });
    }
  };
  extern __shared__ uint4 shared[];
  const int rows = rows_of(args.ragged), row0 = static_cast<int>(blockIdx.x) / args.columns.total * Shape::kM;
  if (row0 >= rows) return;
  const Shares::Share share = args.columns.at(static_cast<int>(blockIdx.x) % args.columns.total);
  Product(*reinterpret_cast<typename Product::Shared*>(shared))
      .run(Plan{args, args.problem[share.problem], static_cast<int>(blockIdx.z), rows, row0, share.block * Shape::kN});
}

// What is left to do behind the quantizer of the product's output, in place.
__global__ void finish_kernel(const __grid_constant__ LinearProblem p, const __grid_constant__ Ragged ragged) {
  begin_kernel();
  const int r = blockIdx.z;
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int row = static_cast<int>(i / p.y.cols), col = static_cast<int>(i % p.y.cols);
  if (row >= rows_of(ragged)) return;
  float* y = p.y.row(r, row) + col;
  const Activated a = finish(p, ragged, r, row, col, *y);
  if (p.saved) p.saved.row(r, row)[col] = a.saved;
  *y = a.y;
}

LinearProblem problem_of(const Linear1& op) {
  LinearProblem p{.x = matrices(op.x), .w = matrices(op.w), .bias = matrices(op.bias), .y = matrices(op.y)};
  if (op.y_format) return p;
  p.saved = matrices(op.saved);
  p.activation = op.activation;
  p.dropout = op.dropout;
  return p;
}
LinearProblem rest_of(const Linear1& op) {
  return {.saved = matrices(op.saved), .y = matrices(op.y), .activation = op.activation, .dropout = op.dropout};
}

template <class Shape>
int64_t share_columns(LinearArgs& args, int problems) {
  args.columns = {};
  for (int p = 0; p < problems; ++p) args.columns.set(p, ceil_div(args.problem[p].y.cols, Shape::kN));
  return ceil_div(args.ragged.rows, Shape::kM) * args.columns.total;
}

template <class Shape, Precision kPrecision>
void launch_linear(const LinearArgs& args, int64_t blocks, int replicas, cudaStream_t stream) {
  launch(linear_kernel<Shape, kPrecision>, dim3(static_cast<unsigned>(blocks), 1, replicas), kGemmThreads,
         sizeof(GemmShared<Shape, Along::row, Along::row>), stream, args);
}

template <Precision kPrecision>
void launch_linear(LinearArgs args, int problems, int replicas, cudaStream_t stream) {
  if (const int64_t blocks = share_columns<LargeTile>(args, problems); blocks * replicas >= kEnoughBlocks)
    launch_linear<LargeTile, kPrecision>(args, blocks, replicas, stream);
  else
    launch_linear<SmallTile, kPrecision>(args, share_columns<SmallTile>(args, problems), replicas, stream);
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
  else
    with_precision(precision_, [&](auto p) { launch_linear<p>(args, problems, replicas, main_.stream); });

  constexpr int kThreads = 256;
  for (const Linear1& op : ops) {
    if (op.y_format) {
      quantize_in_place(op.y_format, op.y_rank, op.y, op.ragged, main_);
      const auto blocks = static_cast<unsigned>(ceil_div(op.ragged.rows * op.y.cols(), kThreads));
      launch(finish_kernel, dim3(blocks, 1, replicas), kThreads, 0, main_.stream, rest_of(op), op.ragged);
    }
    if (op.quantized.count > 0) mpq::quantize_copies(op.quantized, op.y, op.ragged, main_);
  }
}

}  // namespace mpq
