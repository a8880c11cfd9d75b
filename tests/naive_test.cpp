// The first link of the chain of trust: finite differences check the naive gradients, in double.
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "tests/naive/ops.h"

namespace mpq::naive {
namespace {

using Doubles = Array<double>;

const Rows rows({1, 4, 2});
const Mask masks[] = {{}, {.p = 0.3f, .seed = 0x123456789abcdefu, .step = 7, .site = 2}};

Doubles random(int64_t n, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  Doubles x(n);
  for (double& v : x) v = normal(engine);
  return x;
}

double dot(const Doubles& a, const Doubles& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// grad must be the gradient of loss() with respect to x. Central differences: the step's truncation (h^2 = 1e-10) and
// rounding (2^-53 / h = 1e-11) stay below the bound for values of order one.
void expect_gradient(Doubles& x, const Doubles& grad, const std::function<double()>& loss, const char* what) {
  constexpr double h = 1e-5;
  ASSERT_EQ(x.size(), grad.size()) << what;
  for (size_t i = 0; i < x.size(); ++i) {
    const double at = x[i];
    x[i] = at + h;
    const double above = loss();
    x[i] = at - h;
    const double below = loss();
    x[i] = at;
    ASSERT_NEAR((above - below) / (2 * h), grad[i], 1e-7 * (1 + std::abs(grad[i]))) << what << "[" << i << "]";
  }
}

TEST(Naive, EmbedGradient) {
  constexpr int C = 6;
  for (const Mask& mask : masks) {
    Embed<double> in{rows,
                     {3, 0, 3, 2, 0, 1, 3},
                     random(5 * C, 1),
                     random(6 * C, 2),
                     random(2 * C, 3),
                     random(C, 4),
                     random(C, 5),
                     1e-3,
                     mask};
    const Doubles dx = random(rows.count() * C, 6);
    const auto loss = [&] { return dot(embed(in), dx); };
    const EmbedGrad<double> g = embed_grad(in, dx);
    expect_gradient(in.word, g.dword, loss, "word");
    expect_gradient(in.position, g.dposition, loss, "position");
    expect_gradient(in.type, g.dtype, loss, "type");
    expect_gradient(in.gamma, g.dgamma, loss, "gamma");
    expect_gradient(in.beta, g.dbeta, loss, "beta");
  }
}

TEST(Naive, LinearGradient) {
  constexpr int N = 5, K = 3;
  for (const Mask& mask : masks)
    for (Function f : {Function::none, Function::gelu, Function::tanh}) {
      Linear<double> in{rows, random(rows.count() * K, 1), random(N * K, 2), random(N, 3), f, mask, N, K};
      const Doubles dy = random(rows.count() * N, 4);
      const auto loss = [&] { return dot(linear(in), dy); };
      const LinearGrad<double> g = linear_grad(in, dy);
      expect_gradient(in.x, g.dx, loss, "x");
      expect_gradient(in.w, g.dw, loss, "w");
      expect_gradient(in.bias, g.dbias, loss, "bias");
    }
}

TEST(Naive, AdapterGradient) {
  constexpr int N = 5, K = 3, rank = 2;
  for (const Mask& mask : masks)
    for (Function f : {Function::none, Function::gelu}) {
      Linear<double> in{rows, random(rows.count() * K, 1), random(N * K, 2), random(N, 3), f, {}, N, K};
      in.adapter = {random(rank * K, 5), random(rank * N, 6), 0.7, mask};
      const Doubles dy = random(rows.count() * N, 4);
      const auto loss = [&] { return dot(linear(in), dy); };
      const LinearGrad<double> g = linear_grad(in, dy);
      expect_gradient(in.x, g.dx, loss, "x");
      expect_gradient(in.w, g.dw, loss, "w");
      expect_gradient(in.adapter.a, g.da, loss, "a");
      expect_gradient(in.adapter.b, g.db, loss, "b");
    }
}

TEST(Naive, AttentionGradient) {
  constexpr int C = 6;
  for (const Mask& mask : masks)
    for (const Rows& queries : {rows, Rows({1, 1, 1})}) {
      Attention<double> in{
          rows, queries, 2, C, random(queries.count() * C, 1), random(rows.count() * C, 2), random(rows.count() * C, 3),
          mask};
      const Doubles dcontext = random(queries.count() * C, 4);
      const auto loss = [&] { return dot(attention(in), dcontext); };
      const AttentionGrad<double> g = attention_grad(in, dcontext);
      expect_gradient(in.q, g.dq, loss, "q");
      expect_gradient(in.k, g.dk, loss, "k");
      expect_gradient(in.v, g.dv, loss, "v");
    }
}

TEST(Naive, ResidualNormGradient) {
  constexpr int C = 6;
  for (const Mask& mask : masks) {
    ResidualNorm<double> in{
        rows, random(rows.count() * C, 1), random(rows.count() * C, 2), random(C, 3), random(C, 4), 1e-3, mask};
    const Doubles dx = random(rows.count() * C, 5);
    const auto loss = [&] { return dot(residual_norm(in), dx); };
    const ResidualNormGrad<double> g = residual_norm_grad(in, dx);
    expect_gradient(in.y, g.dy, loss, "y");
    expect_gradient(in.residual, g.dresidual, loss, "residual");
    expect_gradient(in.gamma, g.dgamma, loss, "gamma");
    expect_gradient(in.beta, g.dbeta, loss, "beta");
  }
}

TEST(Naive, SelectFirstGradient) {
  Doubles x = random(rows.count() * 2, 1);
  const Doubles dy = random(rows.sequences() * 2, 2);
  expect_gradient(
      x, select_first_grad(rows, 2, dy), [&] { return dot(select_first(rows, 2, x), dy); }, "x");
}

TEST(Naive, CrossEntropyGradient) {
  Doubles logits = random(4 * 3, 1);
  const std::vector<int32_t> labels = {2, 0, 1, 1};
  expect_gradient(
      logits, cross_entropy_grad(logits, 3, labels), [&] { return cross_entropy(logits, 3, labels); }, "logits");
}

TEST(Naive, SoftCrossEntropyGradient) {
  Doubles logits = random(4 * 3, 1);
  const Doubles targets = {0.2, 0.5, 0.3, 1, 0, 0, 0.1, 0.1, 0.8, 0.4, 0.6, 0};
  expect_gradient(
      logits, soft_cross_entropy_grad(logits, 3, targets), [&] { return soft_cross_entropy(logits, 3, targets); },
      "logits");
}

TEST(Naive, DropoutKeepsItsShareAndItsMean) {
  const Mask mask{.p = 0.1f, .seed = 42, .step = 3, .site = 1};
  constexpr int n = 200000;
  double sum = 0;
  int kept = 0;
  for (int e = 0; e < n; ++e) {
    const double f = dropout_factor<double>(mask, 5, 9, e);
    kept += f != 0;
    sum += f;
  }
  const double deviation = std::sqrt(n * 0.1 * 0.9);
  EXPECT_NEAR(kept, 0.9 * n, 4 * deviation);
  EXPECT_NEAR(sum / n, 1, 4 * deviation / (0.9 * n));
}

}  // namespace
}  // namespace mpq::naive
