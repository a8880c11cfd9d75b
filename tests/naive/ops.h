// The operations of tensor/ops.h as anybody would write them: plain loops, one function an operation and one its
// gradient, in double (the truth) or float (what a careless float32 evaluation loses; tolerances derive from it).
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

#include "base/philox.h"

namespace mpq::naive {

template <class Real>
using Array = std::vector<Real>;

// Rows of a ragged batch: row of (b, i) is starts[b] + i.
struct Rows {
  std::vector<int32_t> starts{0};
  Rows() = default;
  explicit Rows(const std::vector<int32_t>& lengths) {
    for (int32_t n : lengths) starts.push_back(starts.back() + n);
  }
  int sequences() const { return static_cast<int>(starts.size()) - 1; }
  int length(int b) const { return starts[b + 1] - starts[b]; }
  int64_t count() const { return starts.back(); }
};

struct Mask {
  float p = 0;
  uint64_t seed = 0;
  int64_t step = 0;
  uint32_t site = 0;
  uint32_t first = 0;  // number of the first sequence
};

// What element e of the row addressed by (c1, c2) is multiplied with; the addressing rule of kernels/dropout.h.
template <class Real>
Real dropout_factor(const Mask& m, uint32_t c1, uint32_t c2, int64_t e) {
  if (m.p <= 0) return 1;
  const auto low = static_cast<uint32_t>(m.seed), high = static_cast<uint32_t>(m.seed >> 32);
  const Philox random = philox(static_cast<uint32_t>(e / 128 * 16 + e % 16), c1, c2 + m.first,
                               static_cast<uint32_t>(m.step), low, high ^ (m.site * 0x9E3779B9u + 0x7F4A7C15u));
  const int64_t half = e % 128 / 16;
  const uint32_t bits = random.word[half / 2] >> (half % 2 * 16) & 0xFFFF;
  return bits < std::lround(m.p * 65536) ? Real{0} : Real{1} / (Real{1} - Real(m.p));
}

// x [T, C] times its mask, element by element (position, sequence, channel).
template <class Real>
Array<Real> dropout(Array<Real> x, const Rows& rows, int C, const Mask& mask) {
  for (int b = 0; b < rows.sequences(); ++b)
    for (int i = 0; i < rows.length(b); ++i)
      for (int c = 0; c < C; ++c) x[(rows.starts[b] + i) * C + c] *= dropout_factor<Real>(mask, i, b, c);
  return x;
}

template <class Real>
Array<Real> added(Array<Real> a, const Array<Real>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

// ---- LayerNorm of rows [C] ----

template <class Real>
struct Norm {
  Real mean = 0, rstd = 0;
};

template <class Real>
Norm<Real> norm_of(const Real* s, int C, Real epsilon) {
  Real sum = 0, squares = 0;
  for (int c = 0; c < C; ++c) sum += s[c];
  const Real mean = sum / C;
  for (int c = 0; c < C; ++c) squares += (s[c] - mean) * (s[c] - mean);
  return {mean, 1 / std::sqrt(squares / C + epsilon)};
}

template <class Real>
Array<Real> layer_norm(const Array<Real>& s, const Array<Real>& gamma, const Array<Real>& beta, Real epsilon) {
  const int C = static_cast<int>(gamma.size());
  Array<Real> x(s.size());
  for (size_t row = 0; row < s.size(); row += C) {
    const Norm<Real> n = norm_of(&s[row], C, epsilon);
    for (int c = 0; c < C; ++c) x[row + c] = (s[row + c] - n.mean) * n.rstd * gamma[c] + beta[c];
  }
  return x;
}

template <class Real>
struct NormGrad {
  Array<Real> ds, dgamma, dbeta;
};

template <class Real>
NormGrad<Real> layer_norm_grad(const Array<Real>& s, const Array<Real>& gamma, Real epsilon, const Array<Real>& dx) {
  const int C = static_cast<int>(gamma.size());
  NormGrad<Real> g{Array<Real>(s.size()), Array<Real>(C), Array<Real>(C)};
  for (size_t row = 0; row < s.size(); row += C) {
    const Norm<Real> n = norm_of(&s[row], C, epsilon);
    Real mean_d = 0, mean_dx = 0;  // of d = dx gamma, and of d times the normalised value
    for (int c = 0; c < C; ++c) {
      const Real normalised = (s[row + c] - n.mean) * n.rstd, d = dx[row + c] * gamma[c];
      mean_d += d / C;
      mean_dx += d * normalised / C;
      g.dgamma[c] += dx[row + c] * normalised;
      g.dbeta[c] += dx[row + c];
    }
    for (int c = 0; c < C; ++c) {
      const Real normalised = (s[row + c] - n.mean) * n.rstd;
      g.ds[row + c] = (dx[row + c] * gamma[c] - mean_d - normalised * mean_dx) * n.rstd;
    }
  }
  return g;
}

// ---- embeddings ----

template <class Real>
struct Embed {
  Rows rows;
  std::vector<int32_t> tokens;                    // [T]
  Array<Real> word, position, type, gamma, beta;  // [V, C] [P, C] [types, C] [C] [C]
  Real epsilon;
  Mask mask;

  int C() const { return static_cast<int>(gamma.size()); }
  Array<Real> sum() const {
    Array<Real> s(rows.count() * C());
    for (int b = 0; b < rows.sequences(); ++b)
      for (int i = 0; i < rows.length(b); ++i)
        for (int c = 0; c < C(); ++c) {
          const int64_t row = rows.starts[b] + i;
          s[row * C() + c] = word[tokens[row] * C() + c] + type[c] + position[i * C() + c];
        }
    return s;
  }
};

template <class Real>
Array<Real> embed(const Embed<Real>& in) {
  return dropout(layer_norm(in.sum(), in.gamma, in.beta, in.epsilon), in.rows, in.C(), in.mask);
}

template <class Real>
struct EmbedGrad {
  Array<Real> dsum, dword, dposition, dtype, dgamma, dbeta;
};

template <class Real>
EmbedGrad<Real> embed_grad(const Embed<Real>& in, const Array<Real>& dx) {
  const int C = in.C();
  const NormGrad<Real> norm = layer_norm_grad(in.sum(), in.gamma, in.epsilon, dropout(dx, in.rows, C, in.mask));
  EmbedGrad<Real> g{
      norm.ds,   Array<Real>(in.word.size()), Array<Real>(in.position.size()), Array<Real>(in.type.size()), norm.dgamma,
      norm.dbeta};
  for (int b = 0; b < in.rows.sequences(); ++b)
    for (int i = 0; i < in.rows.length(b); ++i)
      for (int c = 0; c < C; ++c) {
        const int64_t row = in.rows.starts[b] + i;
        const Real d = norm.ds[row * C + c];
        g.dword[in.tokens[row] * C + c] += d;
        g.dposition[i * C + c] += d;
        g.dtype[c] += d;
      }
  return g;
}

// ---- Linear: y = dropout(f(x w^T + bias + adapter)) ----

enum class Function { none, gelu, tanh };

template <class Real>
Real apply(Function f, Real x) {
  if (f == Function::tanh) return std::tanh(x);
  if (f == Function::gelu) return x * (1 + std::erf(x / std::numbers::sqrt2_v<Real>)) / 2;
  return x;
}
template <class Real>
Real slope(Function f, Real x) {
  if (f == Function::tanh) return 1 - std::tanh(x) * std::tanh(x);
  if (f == Function::none) return 1;
  const Real density = std::exp(-x * x / 2) * std::numbers::inv_sqrtpi_v<Real> / std::numbers::sqrt2_v<Real>;
  return (1 + std::erf(x / std::numbers::sqrt2_v<Real>)) / 2 + x * density;
}

// scale * (dropout(x) a^T) b; or empty.
template <class Real>
struct Adapter {
  Array<Real> a, b;  // [rank, K] [rank, N]
  Real scale = 0;
  Mask mask;
};

template <class Real>
struct Linear {
  Rows rows;
  Array<Real> x, w, bias;  // [T, K] [N, K] [N] (empty: 0)
  Function function = Function::none;
  Mask mask;

  int64_t N, K;
  Adapter<Real> adapter = {};

  int64_t rank() const { return static_cast<int64_t>(adapter.a.size()) / K; }
  // x p^T for p [rank, K], scaled.
  Array<Real> low() const { return projected(dropout(x, rows, static_cast<int>(K), adapter.mask), adapter.a, K); }
  Array<Real> projected(const Array<Real>& from, const Array<Real>& p, int64_t width) const {
    Array<Real> result(rows.count() * rank());
    for (int64_t m = 0; m < rows.count(); ++m)
      for (int64_t j = 0; j < rank(); ++j)
        for (int64_t k = 0; k < width; ++k)
          result[m * rank() + j] += adapter.scale * from[m * width + k] * p[j * width + k];
    return result;
  }
  Array<Real> product() const {
    Array<Real> y(rows.count() * N);
    for (int64_t m = 0; m < rows.count(); ++m)
      for (int64_t n = 0; n < N; ++n) {
        Real sum = bias.empty() ? Real{0} : bias[n];
        for (int64_t k = 0; k < K; ++k) sum += x[m * K + k] * w[n * K + k];
        y[m * N + n] = sum;
      }
    const Array<Real> u = low();
    for (int64_t m = 0; m < rows.count(); ++m)
      for (int64_t n = 0; n < N; ++n)
        for (int64_t j = 0; j < rank(); ++j) y[m * N + n] += u[m * rank() + j] * adapter.b[j * N + n];
    return y;
  }
};

template <class Real>
Array<Real> linear(const Linear<Real>& in) {
  Array<Real> y = in.product();
  for (Real& v : y) v = apply(in.function, v);
  return dropout(y, in.rows, static_cast<int>(in.N), in.mask);
}

template <class Real>
struct LinearGrad {
  Array<Real> dproduct, dx, dw, dbias;
  Array<Real> da, db;  // of the adapter
};

template <class Real>
void adapter_grad(const Linear<Real>& in, LinearGrad<Real>& g) {
  const int64_t K = in.K, N = in.N, rank = in.rank();
  const Array<Real> u = in.low(), du = in.projected(g.dproduct, in.adapter.b, N);
  const Array<Real> dropped = dropout(in.x, in.rows, static_cast<int>(K), in.adapter.mask);
  Array<Real> ddropped(in.x.size());
  g.da.resize(rank * K), g.db.resize(rank * N);
  for (int64_t m = 0; m < in.rows.count(); ++m)
    for (int64_t j = 0; j < rank; ++j) {
      for (int64_t k = 0; k < K; ++k) {
        g.da[j * K + k] += du[m * rank + j] * dropped[m * K + k];
        ddropped[m * K + k] += du[m * rank + j] * in.adapter.a[j * K + k];
      }
      for (int64_t n = 0; n < N; ++n) g.db[j * N + n] += u[m * rank + j] * g.dproduct[m * N + n];
    }
  g.dx = added(g.dx, dropout(ddropped, in.rows, static_cast<int>(K), in.adapter.mask));
}

template <class Real>
LinearGrad<Real> linear_grad(const Linear<Real>& in, const Array<Real>& dy) {
  const Array<Real> product = in.product();
  LinearGrad<Real> g{dropout(dy, in.rows, static_cast<int>(in.N), in.mask),
                     Array<Real>(in.x.size()),
                     Array<Real>(in.w.size()),
                     Array<Real>(in.N),
                     {},
                     {}};
  for (size_t i = 0; i < product.size(); ++i) g.dproduct[i] *= slope(in.function, product[i]);
  for (int64_t m = 0; m < in.rows.count(); ++m)
    for (int64_t n = 0; n < in.N; ++n) {
      const Real d = g.dproduct[m * in.N + n];
      g.dbias[n] += d;
      for (int64_t k = 0; k < in.K; ++k) {
        g.dx[m * in.K + k] += d * in.w[n * in.K + k];
        g.dw[n * in.K + k] += d * in.x[m * in.K + k];
      }
    }
  adapter_grad(in, g);
  return g;
}

// ---- attention ----

template <class Real>
struct Attention {
  Rows keys, queries;  // queries: as many sequences, perhaps fewer rows
  int heads, C;
  Array<Real> q, k, v;  // [rows of queries, C] [T, C] [T, C]
  Mask mask;

  int D() const { return C / heads; }
  // Softmax over the keys for query i of (sequence b, head h), before dropout.
  Array<Real> probabilities(int b, int h, int i) const {
    Array<Real> p(keys.length(b));
    for (int j = 0; j < keys.length(b); ++j)
      for (int d = 0; d < D(); ++d)
        p[j] += q[(queries.starts[b] + i) * C + h * D() + d] * k[(keys.starts[b] + j) * C + h * D() + d];
    for (Real& s : p) s /= std::sqrt(Real(D()));
    const Real top = *std::max_element(p.begin(), p.end());
    Real sum = 0;
    for (Real& s : p) sum += s = std::exp(s - top);
    for (Real& s : p) s /= sum;
    return p;
  }
  Real factor(int b, int h, int i, int j) const {
    return dropout_factor<Real>(mask, i, static_cast<uint32_t>(b) + (static_cast<uint32_t>(h) << 20), j);
  }
  template <class Visit>
  void each_query(Visit visit) const {
    for (int b = 0; b < keys.sequences(); ++b)
      for (int h = 0; h < heads; ++h)
        for (int i = 0; i < queries.length(b); ++i) visit(b, h, i);
  }
};

template <class Real>
Array<Real> attention(const Attention<Real>& in) {
  Array<Real> context(in.q.size());
  in.each_query([&](int b, int h, int i) {
    const Array<Real> p = in.probabilities(b, h, i);
    for (int j = 0; j < in.keys.length(b); ++j) {
      const Real weight = p[j] * in.factor(b, h, i, j);
      for (int d = 0; d < in.D(); ++d)
        context[(in.queries.starts[b] + i) * in.C + h * in.D() + d] +=
            weight * in.v[(in.keys.starts[b] + j) * in.C + h * in.D() + d];
    }
  });
  return context;
}

template <class Real>
struct AttentionGrad {
  Array<Real> dq, dk, dv;
};

template <class Real>
AttentionGrad<Real> attention_grad(const Attention<Real>& in, const Array<Real>& dcontext) {
  AttentionGrad<Real> g{Array<Real>(in.q.size()), Array<Real>(in.k.size()), Array<Real>(in.v.size())};
  in.each_query([&](int b, int h, int i) {
    const Array<Real> p = in.probabilities(b, h, i);
    const int64_t query = (in.queries.starts[b] + i) * in.C + h * in.D();
    const auto key = [&](int j) { return (in.keys.starts[b] + j) * in.C + h * in.D(); };
    Array<Real> dp(p.size());
    Real weighted = 0;  // sum of p dp
    for (size_t j = 0; j < p.size(); ++j) {
      const Real factor = in.factor(b, h, i, j);
      for (int d = 0; d < in.D(); ++d) {
        dp[j] += dcontext[query + d] * in.v[key(j) + d] * factor;
        g.dv[key(j) + d] += p[j] * factor * dcontext[query + d];
      }
      weighted += p[j] * dp[j];
    }
    for (size_t j = 0; j < p.size(); ++j) {
      const Real ds = p[j] * (dp[j] - weighted) / std::sqrt(Real(in.D()));
      for (int d = 0; d < in.D(); ++d) {
        g.dq[query + d] += ds * in.k[key(j) + d];
        g.dk[key(j) + d] += ds * in.q[query + d];
      }
    }
  });
  return g;
}

// ---- residual + dropout + LayerNorm ----

template <class Real>
struct ResidualNorm {
  Rows rows;
  Array<Real> y, residual, gamma, beta;  // [T, C] [T, C] [C] [C]
  Real epsilon;
  Mask mask;
  Array<Real> sum() const { return added(dropout(y, rows, static_cast<int>(gamma.size()), mask), residual); }
};

template <class Real>
Array<Real> residual_norm(const ResidualNorm<Real>& in) {
  return layer_norm(in.sum(), in.gamma, in.beta, in.epsilon);
}

template <class Real>
struct ResidualNormGrad {
  Array<Real> dy, dresidual, dgamma, dbeta;
};

template <class Real>
ResidualNormGrad<Real> residual_norm_grad(const ResidualNorm<Real>& in, const Array<Real>& dx) {
  const NormGrad<Real> norm = layer_norm_grad(in.sum(), in.gamma, in.epsilon, dx);
  return {dropout(norm.ds, in.rows, static_cast<int>(in.gamma.size()), in.mask), norm.ds, norm.dgamma, norm.dbeta};
}

// ---- first rows ----

template <class Real>
Array<Real> select_first(const Rows& rows, int C, const Array<Real>& x) {
  Array<Real> y;
  for (int b = 0; b < rows.sequences(); ++b) y.insert(y.end(), &x[rows.starts[b] * C], &x[rows.starts[b] * C] + C);
  return y;
}
template <class Real>
Array<Real> select_first_grad(const Rows& rows, int C, const Array<Real>& dy) {
  Array<Real> dx(rows.count() * C);
  for (int b = 0; b < rows.sequences(); ++b) std::copy_n(&dy[b * C], C, &dx[rows.starts[b] * C]);
  return dx;
}

// ---- loss ----

template <class Real>
Array<Real> softmax(const Real* x, int n) {
  Array<Real> p(x, x + n);
  const Real top = *std::max_element(p.begin(), p.end());
  Real sum = 0;
  for (Real& v : p) sum += v = std::exp(v - top);
  for (Real& v : p) v /= sum;
  return p;
}
// Of distributions `targets` [B, classes].
template <class Real>
Real soft_cross_entropy(const Array<Real>& logits, int classes, const Array<Real>& targets) {
  Real loss = 0;
  const size_t rows = logits.size() / classes;
  for (size_t b = 0; b < rows; ++b) {
    const Real* x = &logits[b * classes];
    const Real top = *std::max_element(x, x + classes);
    Real sum = 0;
    for (int i = 0; i < classes; ++i) sum += std::exp(x[i] - top);
    for (int i = 0; i < classes; ++i) loss += targets[b * classes + i] * (std::log(sum) + top - x[i]);
  }
  return loss / static_cast<Real>(rows);
}
template <class Real>
Array<Real> soft_cross_entropy_grad(const Array<Real>& logits, int classes, const Array<Real>& targets) {
  Array<Real> d;
  const size_t rows = logits.size() / classes;
  for (size_t b = 0; b < rows; ++b) {
    const Array<Real> p = softmax(&logits[b * classes], classes);
    for (int i = 0; i < classes; ++i) d.push_back((p[i] - targets[b * classes + i]) / static_cast<Real>(rows));
  }
  return d;
}
template <class Real>
Array<Real> one_hot(const std::vector<int32_t>& labels, int classes) {
  Array<Real> targets(labels.size() * classes, 0);
  for (size_t b = 0; b < labels.size(); ++b) targets[b * classes + labels[b]] = 1;
  return targets;
}
template <class Real>
Real cross_entropy(const Array<Real>& logits, int classes, const std::vector<int32_t>& labels) {
  return soft_cross_entropy(logits, classes, one_hot<Real>(labels, classes));
}
template <class Real>
Array<Real> cross_entropy_grad(const Array<Real>& logits, int classes, const std::vector<int32_t>& labels) {
  return soft_cross_entropy_grad(logits, classes, one_hot<Real>(labels, classes));
}

// ---- AdamW of one value, textbook form (Loshchilov & Hutter 2019, algorithm 2) ----

template <class Real>
struct Moments {
  Real p, m = 0, v = 0;
};
template <class Real>
void adamw(Moments<Real>& s, Real g, int64_t t, Real lr, Real decay, Real beta1 = Real(0.9), Real beta2 = Real(0.999),
           Real epsilon = Real(1e-8)) {
  s.m = beta1 * s.m + (1 - beta1) * g;
  s.v = beta2 * s.v + (1 - beta2) * g * g;
  const Real m_hat = s.m / (1 - std::pow(beta1, Real(t + 1))), v_hat = s.v / (1 - std::pow(beta2, Real(t + 1)));
  s.p = s.p - lr * decay * s.p - lr * m_hat / (std::sqrt(v_hat) + epsilon);
}

}  // namespace mpq::naive
