#include "cuda/linear_wide.h"

#include <algorithm>
#include <vector>

#include "cuda/chunk_sums.cuh"
#include "cuda/linear_wide_passes.cuh"

namespace mpq {

namespace {

constexpr int64_t kLeastWidth = 512;
// A Linear over a vocabulary is wide enough behind any usual model: what it streams is the cost.
constexpr int64_t kVocabulary = 8192, kLeastWidthBesideIt = 128;
constexpr int64_t kMostRows = 16384, kRowStep = 2048;  // of a slab, which ends where a chunk does

bool is_wide(int64_t out, int64_t in) {
  const int64_t least = std::max(out, in) < kVocabulary ? kLeastWidth : kLeastWidthBesideIt;
  return std::min(out, in) >= least && out % 8 == 0 && in % 8 == 0;
}

int64_t rounded_up(int64_t n, int64_t step) { return ceil_div(n, step) * step; }

// Where the product waits for its activation.
Matrices before_activation(const LinearProblem& p) {
  return p.activation == Activation::gelu && p.saved ? p.saved : p.y;
}

// Whether a Linear adds to the dx of one before it.
bool follows(std::span<const Linear1Grad> ops, size_t p) {
  for (size_t before = p; before-- > 0;)
    if (ops[before].dx) return ops[before].dx.data == ops[p].dx.data;
  return false;
}

}  // namespace

// Rows of which the operands of such Linears, and sums of biases, find room at once: a multiple of kRowStep, or 0.
int64_t WideLinears::slab_rows(std::span<const Size> sizes) {
  int64_t weights = 0, row = 0;
  for (const auto& [out, in] : sizes)
    weights += NarrowCopies::bytes(out * in), row += NarrowCopies::bytes(out + in) + out / 16;
  const int64_t room = static_cast<int64_t>(kScratch - CublasLt::kWorkspace) - weights;
  return std::clamp<int64_t>(room / row / kRowStep * kRowStep, 0, kMostRows);
}

// The same where the gradient of the output is bf16 already: of it there is a copy of one chunk at most.
int64_t WideLinears::slab_rows_of_narrow(const Size& size) {
  const auto [out, in] = size;
  const int64_t room = static_cast<int64_t>(kScratch - CublasLt::kWorkspace) - NarrowCopies::bytes(out * in) -
                       NarrowCopies::bytes(chunk_of(out, in) * out);
  return std::clamp<int64_t>(room / (NarrowCopies::bytes(in) + out / 16) / kRowStep * kRowStep, 0, kMostRows);
}

std::vector<WideLinears::Size> WideLinears::sizes_of(std::span<const Linear1> ops) {
  std::vector<Size> sizes;
  for (const Linear1& op : ops) sizes.push_back({op.w.rows(), op.w.cols()});
  return sizes;
}
std::vector<WideLinears::Size> WideLinears::sizes_of(std::span<const Linear1Grad> ops) {
  std::vector<Size> sizes;
  for (const Linear1Grad& op : ops) sizes.push_back({op.forward.w.rows(), op.forward.w.cols()});
  return sizes;
}

bool WideLinears::take(std::span<const Size> sizes) {
  if (precision_ != Precision::bf16) return false;
  for (const auto& [out, in] : sizes)
    if (!is_wide(out, in)) return false;
  if (slab_rows(sizes) == 0) return false;
  if (!opened_) {
    text_ = describe_cublaslt();
    products_ = open_cublaslt(lane_.scratch);
    opened_ = true;
  }
  return products_ &&
         std::all_of(sizes.begin(), sizes.end(), [&](const Size& s) { return products_->serves(s.out, s.in); });
}
bool WideLinears::take(std::span<const Linear1> ops) { return take(sizes_of(ops)); }
bool WideLinears::take(std::span<const Linear1Grad> ops) { return take(sizes_of(ops)); }

void WideLinears::output(const LinearArgs& args, int problems, int replicas) {
  std::vector<Size> sizes;
  for (int i = 0; i < problems; ++i) sizes.push_back({args.problem[i].w.rows, args.problem[i].w.cols});
  const int64_t at_once = slab_rows(sizes);
  for (int r = 0; r < replicas; ++r)
    for (int64_t first = 0; first < args.ragged.rows; first += at_once)
      output(args, problems, {r, first, std::min(at_once, args.ragged.rows - first)});

  for (int i = 0; i < problems; ++i) {
    const LinearProblem& p = args.problem[i];
    if (p.activation == Activation::none && p.copies.count == 0) continue;
    launch(activate_kernel, dim3(blocks_of_fours(args.ragged.rows * p.y.cols), 1, replicas), kPassThreads, 0,
           lane_.stream, p, before_activation(p), args.ragged);
  }
}

void WideLinears::output(const LinearArgs& args, int problems, const Slab& slab) {
  const auto& [r, first, rows] = slab;
  Arena memory = arena();
  NarrowCopies copies(args.ragged, memory);
  const uint16_t *x[kMostLinears], *w[kMostLinears];
  for (int i = 0; i < problems; ++i) {
    x[i] = copies.rows_of(args.problem[i].x, r, first, rows);
    w[i] = copies.all_of(args.problem[i].w, r);
  }
  copies.make(lane_.stream);
  for (int i = 0; i < problems; ++i) {
    const LinearProblem& p = args.problem[i];
    products_->run({.kind = WideKind::output,
                    .out = p.w.rows,
                    .in = p.w.cols,
                    .left = x[i],
                    .right = w[i],
                    .result = before_activation(p).row(r, static_cast<int>(first)),
                    .rows = rows,
                    .bias = p.bias ? p.bias.row(r, 0) : nullptr},
                   lane_.stream);
  }
}

void WideLinears::gradients(std::span<const Linear1Grad> ops, int replicas) {
  const Ragged& ragged = ops[0].forward.ragged;
  const std::vector<Size> sizes = sizes_of(ops);
  const int64_t at_once = ops[0].dy.dtype == DType::bf16 ? slab_rows_of_narrow(sizes[0]) : slab_rows(sizes);
  for (int r = 0; r < replicas; ++r)
    for (int64_t first = 0; first < ragged.rows; first += at_once)
      gradients(ops, {r, first, std::min(at_once, ragged.rows - first)});

  for (size_t i = 0; i < ops.size(); ++i) {
    const Linear1Grad& op = ops[i];
    if (!op.dx || op.input_activation == Activation::none || follows(ops, i)) continue;
    launch(slope_kernel, dim3(blocks_of_fours(ragged.rows * op.dx.cols()), 1, replicas), kPassThreads, 0, lane_.stream,
           matrices(op.dx), op.input_activation, matrices(op.input_saved), ragged);
  }
}

WideLinears::Gradient WideLinears::gradient(const Linear1Grad& op, NarrowCopies& copies, const Slab& slab) {
  const Matrices dy = matrices(op.dy);
  const auto& [r, first, rows] = slab;
  const int64_t chunk = chunk_of(dy.cols, op.forward.x.cols()), in_chunks = rounded_up(rows, chunk);
  if (op.dy.dtype == DType::bf16) {
    const NarrowRows there{reinterpret_cast<const uint16_t*>(dy.row(r, static_cast<int>(first))), 2 * int64_t{dy.cols}};
    const int64_t whole = rows / chunk * chunk;
    const auto rest = copies.rest_and_sums_of(there, dy.cols, first, in_chunks, whole);
    return {there, {rest.copy, dy.cols}, whole, rest.sums};
  }
  if (op.dbias) {
    const auto all = copies.rows_and_sums_of(dy, r, first, in_chunks);
    return {{all.copy, dy.cols}, {}, in_chunks, all.sums};
  }
  return {{op.dx || op.dw ? copies.rows_of(dy, r, first, in_chunks) : nullptr, dy.cols}, {}, in_chunks};
}

void WideLinears::gradients(std::span<const Linear1Grad> ops, const Slab& slab) {
  const auto& [r, first, rows] = slab;
  Arena memory = arena();
  NarrowCopies copies(ops[0].forward.ragged, memory);
  Gradient dy[kMostLinears] = {};
  const uint16_t *w[kMostLinears] = {}, *x[kMostLinears] = {};
  for (size_t i = 0; i < ops.size(); ++i) {
    const Linear1Grad& op = ops[i];
    const int64_t in_chunks = rounded_up(rows, chunk_of(op.dy.cols(), op.forward.x.cols()));
    dy[i] = gradient(op, copies, slab);
    if (op.dx) w[i] = copies.all_of(matrices(op.forward.w), r);
    if (op.dw) x[i] = copies.rows_of(matrices(op.forward.x), r, first, in_chunks);
  }
  copies.make(lane_.stream);
  for (size_t i = 0; i < ops.size(); ++i)
    if (ops[i].dx) input_grad(ops[i], ops[i].accumulate || follows(ops, i), dy[i].rows, w[i], slab);
  for (size_t i = 0; i < ops.size(); ++i)
    if (ops[i].dw) weight_grad(ops[i], dy[i], x[i], memory, slab);
  std::vector<ChunkSums> sums;
  for (size_t i = 0; i < ops.size(); ++i)
    if (ops[i].dbias)
      sums.push_back({.sums = dy[i].sums,
                      .total = ops[i].dbias.f32(r),
                      .size = ops[i].dbias.shape[0],
                      .chunks = static_cast<int>(ceil_div(rows, NarrowCopies::kSumRows)),
                      .rows = NarrowCopies::kSumRows,
                      .first = static_cast<int>(first),
                      .accumulate = first > 0});
  add_chunks(ops[0].forward.ragged, sums, 1, lane_.stream);
}

void WideLinears::input_grad(const Linear1Grad& op, bool accumulate, const NarrowRows& dy, const uint16_t* w,
                             const Slab& slab) {
  const InputFormat& format = op.input_format;
  const Matrices dx = matrices(op.dx), product = format ? matrices(format.dxq) : dx;
  const int first = static_cast<int>(slab.first);
  products_->run({.kind = WideKind::input_grad,
                  .out = op.dy.cols(),
                  .in = dx.cols,
                  .left = dy.data,
                  .right = w,
                  .left_apart = dy.apart,
                  .result = product.row(slab.replica, first),
                  .rows = slab.rows,
                  .accumulate = accumulate && !format},
                 lane_.stream);
  if (format)
    launch(through_format_kernel, blocks_of_fours(slab.rows * dx.cols), kPassThreads, 0, lane_.stream,
           FormatOfInput{format.slot, matrices(format.values), product}, dx, accumulate, slab.replica, first,
           static_cast<int>(slab.first + slab.rows), op.forward.ragged);
}

// Some chunks at once, so that few tiles keep the GPU busy; a chunk alone goes where the sum is. Either way each is
// complete before it is added, in order.
void WideLinears::weight_grad(const Linear1Grad& op, const Gradient& dy, const uint16_t* x, Arena& arena,
                              const Slab& slab) {
  const int64_t out = op.dw.rows(), in = op.dw.cols(), rows = chunk_of(out, in);
  const int64_t chunks = ceil_div(slab.rows, rows), left = static_cast<int64_t>(arena.capacity() - arena.mark());
  const int64_t at_once = std::clamp<int64_t>(left / (out * in * int64_t{sizeof(float)}), 1, chunks);
  float* dw = op.dw.f32(slab.replica);
  float* sums = reinterpret_cast<float*>(lane_.scratch + CublasLt::kWorkspace + arena.mark());
  int64_t count = 0;
  for (int64_t c = 0; c < chunks; c += count) {
    const int64_t whole = dy.whole / rows, end = c < whole ? std::min(whole, chunks) : chunks;
    const NarrowRows& from = c < whole ? dy.rows : dy.rest;
    count = std::min(at_once, end - c);
    const bool accumulate = slab.first + c > 0, alone = count == 1;
    products_->run({.kind = WideKind::weight_grad,
                    .out = out,
                    .in = in,
                    .left = from.data + (c < whole ? c : c - whole) * rows * from.apart,
                    .right = x + c * rows * in,
                    .left_apart = from.apart,
                    .result = alone ? dw : sums,
                    .rows = rows,
                    .accumulate = alone && accumulate,
                    .chunks = count},
                   lane_.stream);
    const ChunkSums chunk_sums{.sums = sums,
                               .total = dw,
                               .size = out * in,
                               .chunks = static_cast<int>(count),
                               .rows = static_cast<int>(rows),
                               .first = static_cast<int>(slab.first + c * rows),
                               .accumulate = accumulate};
    if (!alone) add_chunks(op.forward.ragged, {&chunk_sums, 1}, 1, lane_.stream);
  }
}

}  // namespace mpq
