// kernels/gemm.h promises one chain of fused multiply-adds an element, over k in ascending order: fmaf in a plain loop.
#include "tests/kernel_hooks.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/simd.h"

namespace mpq {
namespace {

using Floats = std::vector<float>;
using Gemm = void (*)(const GemmCase&);

Floats random(int64_t n, std::mt19937& engine) {
  std::normal_distribution<float> normal;
  Floats x(n);
  for (float& v : x) v = normal(engine);
  return x;
}

float chain(const GemmCase& g, int64_t m, int64_t n, float sum) {
  for (int64_t k = 0; k < g.k; ++k)
    sum = std::fma(g.a[g.a_transposed ? k * g.m + m : m * g.k + k], g.b[n * g.k + k], sum);
  return sum;
}
float start_of(const GemmCase& g, int64_t m, int64_t n) {
  return !g.start ? 0.0f : g.start[g.start_is_row ? n : m * g.n + n];
}

struct Sizes {
  int64_t m, n, k;
};
std::vector<Sizes> sizes() {
  std::vector<Sizes> all = {{1, 1, 1}, {12, 32, 256}, {13, 33, 257}, {96, 128, 512}, {5, 47, 600}, {48, 300, 20}};
  std::mt19937 engine(5);
  for (int i = 0; i < 40; ++i)
    all.push_back({1 + int64_t(engine() % 60), 1 + int64_t(engine() % 80), 1 + int64_t(engine() % 300)});
  return all;
}

void expect_chains(Gemm product, Gemm added_product) {
  std::mt19937 engine(1);
  for (const Sizes& s : sizes()) {
    const Floats a = random(s.m * s.k, engine), b = random(s.n * s.k, engine), start = random(s.m * s.n, engine);
    Floats c(s.m * s.n), expected(s.m * s.n);
    for (int layout = 0; layout < 12; ++layout) {
      const int from = layout / 4;  // nothing, a row, a matrix
      const GemmCase g{s.m,
                       s.n,
                       s.k,
                       a.data(),
                       b.data(),
                       from ? start.data() : nullptr,
                       layout % 2 == 1,
                       layout / 2 % 2 == 1,
                       from == 1,
                       c.data()};
      SCOPED_TRACE(testing::Message() << s.m << " x " << s.n << " x " << s.k << ", layout " << layout);
      for (int64_t i = 0; i < s.m * s.n; ++i) expected[i] = chain(g, i / s.n, i % s.n, start_of(g, i / s.n, i % s.n));
      product(g);
      ASSERT_EQ(std::memcmp(c.data(), expected.data(), c.size() * sizeof(float)), 0);
      if (from) continue;
      for (int64_t i = 0; i < s.m * s.n; ++i) expected[i] = start[i] + chain(g, i / s.n, i % s.n, 0.0f);
      c = start;
      added_product(g);
      ASSERT_EQ(std::memcmp(c.data(), expected.data(), c.size() * sizeof(float)), 0) << "added";
    }
  }
}

TEST(Gemm, IsAChainOfFusedMultiplyAdds) {
  expect_chains(avx2::gemm_of, avx2::gemm_add_of);
  if (!has_simd(Simd::avx512)) GTEST_SKIP() << "no AVX-512 here";
  expect_chains(avx512::gemm_of, avx512::gemm_add_of);
}

}  // namespace
}  // namespace mpq
