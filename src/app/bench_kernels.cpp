// mpq bench kernels: the CPU's operations at the shapes of bert-tiny (batch 8 of mean IMDb length) and of BERT base,
// the products beside OpenBLAS at the same shapes.
#include <cblas.h>
#include <fmt/format.h>

#include <optional>

#include "app/bench.h"
#include "base/philox.h"
#include "tensor/device.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

// OpenBLAS with that many threads, for a scope.
class BlasThreads {
 public:
  explicit BlasThreads(int threads) : before_(openblas_get_num_threads()) { openblas_set_num_threads(threads); }
  ~BlasThreads() { openblas_set_num_threads(before_); }
  BlasThreads(const BlasThreads&) = delete;
  BlasThreads& operator=(const BlasThreads&) = delete;

 private:
  int before_;
};

// y = x w^T, dx = dy w and dw = dy^T x, each of x [M, K], w [N, K] and y [M, N].
void blas_forward(int m, int n, int k, const float* x, int ldx, const float* w, int ldw, float* y, int ldy) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, n, k, 1.0f, x, ldx, w, ldw, 0.0f, y, ldy);
}
void blas_input_grad(int m, int n, int k, const float* dy, int ldy, const float* w, int ldw, float* dx, int ldx) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, k, n, 1.0f, dy, ldy, w, ldw, 0.0f, dx, ldx);
}
void blas_weight_grad(int m, int n, int k, const float* dy, int ldy, const float* x, int ldx, float* dw, int ldw) {
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, k, m, 1.0f, dy, ldy, x, ldx, 0.0f, dw, ldw);
}

// Memory of one measurement, filled with small random numbers, and a batch of 8 sequences.
class Rig {
 public:
  explicit Rig(int rows) : rows_(rows), device_(open_device("cpu")), arena_(device_->reserve(size_t{160} << 20)) {
    for (int b = 0; b <= kSequences; ++b) starts_.push_back(static_cast<int32_t>(int64_t{rows} * b / kSequences));
    for (int b = 0; b < kSequences; ++b) longest_ = std::max(longest_, starts_[b + 1] - starts_[b]);
  }

  Ops& ops() { return device_->ops(); }
  int rows() const { return rows_; }
  Ragged ragged() const { return {starts_.data(), kSequences, rows_, longest_}; }
  Dropout dropout() const { return {.p = 0.1f, .seeds = &seed_, .step = &step_, .site = 1}; }
  Tensor random(Shape shape) {
    Tensor t = arena_.tensor(shape);
    for (int64_t i = 0; i < shape.size(); ++i)
      t.f32()[i] =
          to_uniform(philox(static_cast<uint32_t>(i), static_cast<uint32_t>(arena_.mark()), 0, 0, 4, 0).word[0]) - 0.5f;
    return t;
  }

  static constexpr int kSequences = 8;

 private:
  int rows_;
  std::unique_ptr<Device> device_;
  Arena arena_;
  std::vector<int32_t> starts_;
  int32_t longest_ = 0;
  uint64_t seed_ = 42;
  int64_t step_ = 0;
};

// One measured operation: what it is, how much it does, and the same products by OpenBLAS where it has any.
struct Work {
  std::string kernel, shape;
  double flops = 0, bytes = 0;
  std::function<void()> run, blas;
};

class KernelBench {
 public:
  explicit KernelBench(const BenchContext& context) : context_(context) {}

  void measure(const Work& work) {
    const double amount = work.flops > 0 ? work.flops : work.bytes;
    const double all = time_calls(budget_, work.run).best, one = with_one_thread(work.run);
    const auto share = [&](double seconds, int threads) { return amount / seconds * 1e-9 / ceiling(work, threads); };
    rows_.push_back(
        {{"kernel", work.kernel},
         {"shape", work.shape},
         {"us", all * 1e6},
         {"gflops", work.flops > 0 ? Json(work.flops / all * 1e-9) : Json()},
         {"gb_per_s", work.bytes > 0 ? Json(work.bytes / all * 1e-9) : Json()},
         {"share", share(all, context_.threads)},
         {"core_share", share(one, 1)},
         {"openblas_core_share", work.blas ? Json(share(blas_seconds(work, 1), 1)) : Json()},
         {"openblas_share", work.blas ? Json(share(blas_seconds(work, context_.threads), context_.threads)) : Json()}});
  }
  const Json& rows() const { return rows_; }

 private:
  double ceiling(const Work& work, int threads) const {
    if (work.bytes == 0) return (threads == 1 ? context_.core : context_.cpu).gflops;
    const auto copy = [&] { return measure_copy(*cpu_, static_cast<size_t>(work.bytes) / 2, budget_); };
    if (threads > 1) return copy();
    const OneThread one;
    return copy();
  }
  double with_one_thread(const std::function<void()>& run) const {
    const OneThread one;
    return time_calls(budget_, run).best;
  }
  double blas_seconds(const Work& work, int threads) const {
    const BlasThreads scope(threads);
    return time_calls(budget_, work.blas).best;
  }

  const BenchContext& context_;
  const std::unique_ptr<Device> cpu_ = open_device("cpu");
  const double budget_ = context_.budget_s / 2;
  Json rows_ = Json::array();
};

void measure_linear(KernelBench& bench, int m, int n, int k) {
  Rig rig(m);
  Linear1 op{.ragged = rig.ragged(),
             .x = rig.random({m, k}),
             .w = rig.random({n, k}),
             .bias = rig.random({n}),
             .y = rig.random({m, n})};
  const Tensor dy = rig.random({m, n}), dx = rig.random({m, k}), dw = rig.random({n, k}), dbias = rig.random({n});
  const Linear1Grad input{.forward = op, .dy = dy, .dx = dx}, weight{.forward = op, .dy = dy, .dw = dw, .dbias = dbias};
  const double flops = 2.0 * m * n * k;
  const float *x = op.x.f32(), *w = op.w.f32(), *from = dy.f32();
  bench.measure({"linear", fmt::format("{}x{}x{}", m, n, k), flops, 0,
                 [&] {
                   rig.ops().linear({&op, 1});
                 },
                 [&] { blas_forward(m, n, k, x, k, w, k, op.y.f32(), n); }});
  bench.measure({"linear_grad, input", fmt::format("{}x{}x{}", m, k, n), flops, 0,
                 [&] {
                   rig.ops().linear_grad({&input, 1});
                 },
                 [&] { blas_input_grad(m, n, k, from, n, w, k, dx.f32(), k); }});
  bench.measure({"linear_grad, weight", fmt::format("{}x{}x{}", n, k, m), flops, 0,
                 [&] {
                   rig.ops().linear_grad({&weight, 1});
                 },
                 [&] { blas_weight_grad(m, n, k, from, n, x, k, dw.f32(), k); }});
}

// OpenBLAS computes the products only: neither softmax nor dropout.
void measure_attention(KernelBench& bench, int length, int heads, int width) {
  const int C = heads * width, rows = Rig::kSequences * length;
  Rig rig(rows);
  Attention op{.keys = rig.ragged(),
               .queries = rig.ragged(),
               .heads = heads,
               .q = rig.random({rows, C}),
               .k = rig.random({rows, C}),
               .v = rig.random({rows, C}),
               .dropout = rig.dropout(),
               .stats = rig.random({rows, heads, 2}),
               .context = rig.random({rows, C})};
  const AttentionGrad grad{.forward = op,
                           .dcontext = rig.random({rows, C}),
                           .dq = rig.random({rows, C}),
                           .dk = rig.random({rows, C}),
                           .dv = rig.random({rows, C})};
  const Tensor scores = rig.random({length, length}), slopes = rig.random({length, length});
  float *s = scores.f32(), *ds = slopes.f32();
  const auto each_head = [&](const auto& body) {
    for (int64_t b = 0; b < Rig::kSequences; ++b)
      for (int64_t h = 0; h < heads; ++h) body(b * length * C + h * width);
  };
  const std::string shape = fmt::format("16 of {}x{}x{}", length, length, width);
  const double flops = 4.0 * C * length * length * Rig::kSequences;
  bench.measure({"attention", shape, flops, 0, [&] { rig.ops().attention(op); },
                 [&] {
                   each_head([&](int64_t at) {
                     blas_forward(length, length, width, op.q.f32() + at, C, op.k.f32() + at, C, s, length);
                     blas_input_grad(length, length, width, s, length, op.v.f32() + at, C, op.context.f32() + at, C);
                   });
                 }});
  rig.ops().attention(op);  // OpenBLAS has overwritten what the gradient reads
  bench.measure({"attention_grad", shape, 2 * flops, 0, [&] { rig.ops().attention_grad(grad); },
                 [&] {
                   each_head([&](int64_t at) {
                     blas_forward(length, length, width, grad.dcontext.f32() + at, C, op.v.f32() + at, C, ds, length);
                     blas_weight_grad(length, length, width, s, length, grad.dcontext.f32() + at, C, grad.dv.f32() + at,
                                      C);
                     blas_input_grad(length, length, width, ds, length, op.k.f32() + at, C, grad.dq.f32() + at, C);
                     blas_weight_grad(length, length, width, ds, length, op.q.f32() + at, C, grad.dk.f32() + at, C);
                   });
                 }});
}

void measure_residual_norm(KernelBench& bench, int rows, int C) {
  Rig rig(rows);
  ResidualNorm op{.ragged = rig.ragged(),
                  .y = rig.random({rows, C}),
                  .residual = rig.random({rows, C}),
                  .gamma = rig.random({C}),
                  .beta = rig.random({C}),
                  .epsilon = 1e-12f,
                  .dropout = rig.dropout(),
                  .mean = rig.random({rows}),
                  .rstd = rig.random({rows}),
                  .x = rig.random({rows, C})};
  op.sum = op.y;
  const ResidualNormGrad grad{.forward = op,
                              .dx = rig.random({rows, C}),
                              .dy = rig.random({rows, C}),
                              .dresidual = rig.random({rows, C}),
                              .dgamma = rig.random({C}),
                              .dbeta = rig.random({C})};
  const double bytes = 4.0 * rows * C * static_cast<double>(sizeof(float));  // two tensors read, two written
  bench.measure({"residual_norm", fmt::format("{}x{}", rows, C), 0, bytes, [&] { rig.ops().residual_norm(op); }, {}});
  bench.measure(
      {"residual_norm_grad", fmt::format("{}x{}", rows, C), 0, bytes, [&] { rig.ops().residual_norm_grad(grad); }, {}});
}

void measure_embed(KernelBench& bench, int rows, int C) {
  constexpr int vocabulary = 30522;
  Rig rig(rows);
  std::vector<int32_t> tokens;
  for (int i = 0; i < rows; ++i)
    tokens.push_back(static_cast<int32_t>(philox(static_cast<uint32_t>(i), 0, 0, 0, 5, 0).word[0] % vocabulary));
  Embed op{.ragged = rig.ragged(),
           .tokens = tokens.data(),
           .word = rig.random({vocabulary, C}),
           .position = rig.random({512, C}),
           .type = rig.random({2, C}),
           .gamma = rig.random({C}),
           .beta = rig.random({C}),
           .epsilon = 1e-12f,
           .dropout = rig.dropout(),
           .sum = rig.random({rows, C}),
           .mean = rig.random({rows}),
           .rstd = rig.random({rows}),
           .x = rig.random({rows, C})};
  const double bytes =
      4.0 * rows * C * static_cast<double>(sizeof(float));  // word and position read, sum and x written
  bench.measure({"embed", fmt::format("{}x{}", rows, C), 0, bytes, [&] { rig.ops().embed(op); }, {}});
}

}  // namespace

BenchTables bench_kernels(const BenchContext& context) {
  KernelBench bench(context);
  constexpr int tokens = 2202;  // 8 reviews of 275.3 tokens
  for (const auto& [n, k] : {std::pair{128, 128}, {512, 128}, {128, 512}}) measure_linear(bench, tokens, n, k);
  measure_attention(bench, 275, 2, 64);
  measure_residual_norm(bench, tokens, 128);
  measure_embed(bench, tokens, 128);
  for (const auto& [n, k] : {std::pair{768, 768}, {3072, 768}}) measure_linear(bench, 1024, n, k);
  return {{"kernels",
           "the best call. share: all threads beside all cores' ceiling; core_share: one thread beside one core's; "
           "where no product is computed, beside "
           "memcpy over as many bytes. OpenBLAS in attention: the products only",
           bench.rows()}};
}

}  // namespace mpq
