// The operations under test, one row each: how a device runs it and how tests/naive does, on the same numbers.
#pragma once
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/text.h"
#include "tests/naive/ops.h"
#include "tests/naive/prune.h"
#include "tests/rig.h"
#include "train/schedule.h"

namespace mpq {

// What an operation is tried on. Numbers are drawn by name and replica, so both sides see the same.
struct Problem {
  std::vector<int32_t> lengths = {3, 1, 5};
  int C = 64, heads = 2;
  float p = 0;            // of dropout
  int first = 0;          // the first sequence's number, as dropout sees it
  bool cls_only = false;  // attention: only first rows ask
  bool accumulate = false;
  std::vector<int> replicas = {0};

  naive::Rows rows() const { return naive::Rows(lengths); }
  std::vector<int32_t> ones() const { return std::vector<int32_t>(lengths.size(), 1); }
  int longest() const { return *std::max_element(lengths.begin(), lengths.end()); }

  template <class Real = float>
  std::vector<Real> draw(const std::string& name, int replica, int64_t n, float scale = 1, float shift = 0) const {
    std::mt19937 engine(static_cast<uint32_t>(hash64(name)) + 977u * static_cast<uint32_t>(replica));
    std::normal_distribution<float> normal(shift, scale);
    std::vector<Real> values(n);
    for (Real& v : values) v = normal(engine);
    return values;
  }
  std::vector<int32_t> integers(const std::string& name, int64_t n, int below) const {
    std::vector<int32_t> values;
    for (float f : draw(name, 0, n, 1e4f)) values.push_back(std::abs(static_cast<int32_t>(f)) % below);
    return values;
  }
  naive::Mask mask(int replica, uint32_t site) const {
    return {p, 0x9E3779B97F4A7C15u * (replica + 1), 11, site, static_cast<uint32_t>(first)};
  }

  std::string text() const {
    std::string s = "C=" + std::to_string(C) + " heads=" + std::to_string(heads) + " p=" + std::to_string(p) +
                    " first=" + std::to_string(first) + " cls_only=" + std::to_string(cls_only) +
                    " accumulate=" + std::to_string(accumulate) + " lengths=";
    for (int32_t n : lengths) s += std::to_string(n) + " ";
    return s;
  }
};

// A problem's numbers in a device's memory.
class DeviceSide {
 public:
  DeviceSide(Rig& rig, const Problem& problem)
      : rig(rig), problem(problem), R(static_cast<int>(problem.replicas.size())) {}

  Tensor in(const std::string& name, Shape shape, float scale = 1, float shift = 0) {
    std::vector<Floats> values;
    for (int r : problem.replicas) values.push_back(problem.draw(name, r, shape.size(), scale, shift));
    return rig.tensor(shape, values);
  }
  Tensor out(Shape shape) { return rig.empty(shape, R); }
  Ragged ragged(const std::vector<int32_t>& lengths) {
    const naive::Rows rows(lengths);
    return {rig.array(rows.starts), rows.sequences(), rows.count(), *std::max_element(lengths.begin(), lengths.end())};
  }
  Ragged ragged() { return ragged(problem.lengths); }
  Dropout dropout(uint32_t site) {
    std::vector<uint64_t> seeds;
    for (int r : problem.replicas) seeds.push_back(problem.mask(r, site).seed);
    return {problem.p, rig.array(seeds), rig.array(std::vector<int64_t>{problem.mask(0, site).step}), site,
            static_cast<uint32_t>(problem.first)};
  }

  Rig& rig;
  const Problem& problem;
  const int R;
};

template <class Real>
using Outputs = std::vector<naive::Array<Real>>;

constexpr float kEpsilon = 1e-12f;

struct EmbedRow {
  static constexpr const char* name = "embed";
  static constexpr int V = 37;
  // Every other token of a large batch is one and the same.
  static std::vector<int32_t> tokens(const Problem& p) {
    std::vector<int32_t> tokens = p.integers("tokens", p.rows().count(), V);
    for (size_t i = 0; i < tokens.size() && tokens.size() > 250; i += 2) tokens[i] = 7;
    return tokens;
  }

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const int C = p.C, P = p.longest() + 2;
    const naive::Embed<Real> in{p.rows(),
                                tokens(p),
                                p.draw<Real>("word", r, V * C),
                                p.draw<Real>("position", r, P * C),
                                p.draw<Real>("type", r, 2 * C),
                                p.draw<Real>("gamma", r, C, 0.2f, 1),
                                p.draw<Real>("beta", r, C),
                                Real(kEpsilon),
                                p.mask(r, 0)};
    const auto g = naive::embed_grad(in, p.draw<Real>("dx", r, p.rows().count() * C));
    return {naive::embed(in), g.dsum, g.dword, g.dposition, g.dtype, g.dgamma, g.dbeta};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const int64_t T = d.problem.rows().count(), C = d.problem.C, P = d.problem.longest() + 2;
    const Embed forward{.ragged = d.ragged(),
                        .tokens = d.rig.array(tokens(d.problem)),
                        .word = d.in("word", {V, C}),
                        .position = d.in("position", {P, C}),
                        .type = d.in("type", {2, C}),
                        .gamma = d.in("gamma", {C}, 0.2f, 1),
                        .beta = d.in("beta", {C}),
                        .epsilon = kEpsilon,
                        .dropout = d.dropout(0),
                        .sum = d.out({T, C}),
                        .mean = d.out({T}),
                        .rstd = d.out({T}),
                        .x = d.out({T, C})};
    const EmbedGrad grad{.forward = forward,
                         .segments = segments(d),
                         .dx = d.in("dx", {T, C}),
                         .dword = d.out({V, C}),
                         .dposition = d.out({P, C}),
                         .dtype = d.out({2, C}),
                         .dgamma = d.out({C}),
                         .dbeta = d.out({C})};
    d.rig.ops().embed(forward);
    d.rig.ops().embed_grad(grad);
    return {forward.x, grad.dx, grad.dword, grad.dposition, grad.dtype, grad.dgamma, grad.dbeta};
  }
  // One segment a token of the vocabulary, empty ones too: the compact gradient is then the whole table's.
  static TokenSegments segments(DeviceSide& d) {
    const std::vector<int32_t> all = tokens(d.problem);
    std::vector<int32_t> distinct, starts = {0}, order;
    for (int32_t v = 0; v < V; ++v) {
      for (size_t i = 0; i < all.size(); ++i)
        if (all[i] == v) order.push_back(static_cast<int32_t>(i));
      distinct.push_back(v);
      starts.push_back(static_cast<int32_t>(order.size()));
    }
    return {d.rig.array(distinct), d.rig.array(starts), d.rig.array(order), d.rig.array(std::vector<int32_t>{V}), V};
  }
};

// Three Linears in one call, reading the same x and adding into the same dx.
struct LinearRow {
  static constexpr const char* name = "linear";
  struct One {
    int64_t N;
    bool bias;
    Activation activation;
    naive::Function function;
  };
  static std::vector<One> problems(const Problem& p) {
    return {{40, true, Activation::gelu, naive::Function::gelu},
            {p.C, false, Activation::none, naive::Function::none},
            {3, true, Activation::tanh, naive::Function::tanh}};
  }
  static std::string numbered(const char* name, size_t i) { return name + std::to_string(i); }

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const int64_t T = p.rows().count(), K = p.C;
    naive::Array<Real> dx = p.accumulate ? p.draw<Real>("dx", r, T * K) : naive::Array<Real>(T * K);
    Outputs<Real> all;
    const auto ones = problems(p);
    for (size_t i = 0; i < ones.size(); ++i) {
      const int64_t N = ones[i].N;
      const naive::Linear<Real> in{p.rows(),
                                   p.draw<Real>("x", r, T * K),
                                   p.draw<Real>(numbered("w", i), r, N * K, 1 / std::sqrt(float(K))),
                                   ones[i].bias ? p.draw<Real>(numbered("bias", i), r, N) : naive::Array<Real>{},
                                   ones[i].function,
                                   p.mask(r, i),
                                   N,
                                   K};
      const auto g = naive::linear_grad(in, p.draw<Real>(numbered("dy", i), r, T * N));
      dx = naive::added(dx, g.dx);
      all.insert(all.end(), {naive::linear(in), g.dproduct, g.dw, g.dbias});
    }
    all.push_back(dx);
    return all;
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const int64_t T = d.problem.rows().count(), K = d.problem.C;
    const Tensor x = d.in("x", {T, K}), dx = d.problem.accumulate ? d.in("dx", {T, K}) : d.out({T, K});
    std::vector<Linear1> forwards;
    std::vector<Linear1Grad> grads;
    const auto ones = problems(d.problem);
    for (size_t i = 0; i < ones.size(); ++i) {
      const int64_t N = ones[i].N;
      forwards.push_back({.ragged = d.ragged(),
                          .x = x,
                          .w = d.in(numbered("w", i), {N, K}, 1 / std::sqrt(float(K))),
                          .bias = ones[i].bias ? d.in(numbered("bias", i), {N}) : Tensor{},
                          .activation = ones[i].activation,
                          .dropout = d.dropout(i),
                          .saved = ones[i].activation == Activation::none ? Tensor{} : d.out({T, N}),
                          .y = d.out({T, N})});
      grads.push_back({.forward = forwards.back(),
                       .dy = d.in(numbered("dy", i), {T, N}),
                       .dx = dx,
                       .accumulate = d.problem.accumulate || i > 0,
                       .dw = d.out({N, K}),
                       .dbias = d.out({N})});
    }
    d.rig.ops().linear(forwards);
    d.rig.ops().linear_grad(grads);
    std::vector<Tensor> all;
    for (const Linear1Grad& g : grads) all.insert(all.end(), {g.forward.y, g.dy, g.dw, g.dbias});
    all.push_back(dx);
    return all;
  }
};

// A Linear with an adapter and one without in one call. Replica r has rank r % 3 + 1, of at most 4.
struct AdapterRow {
  static constexpr const char* name = "adapter";
  static constexpr int64_t N[2] = {28, 17};
  static constexpr int64_t kMost = 4, kBefore = 6;  // the adapter is not the first
  static int64_t rank(int r) { return r % 3 + 1; }
  static float scale(int r) { return 1.5f / static_cast<float>(rank(r)); }
  static int64_t size(const Problem& p) { return kMost * (kBefore + p.C + N[0]); }

  template <class Real>
  static naive::Linear<Real> linear(const Problem& p, int r, int i) {
    const int64_t T = p.rows().count(), K = p.C;
    naive::Linear<Real> in{p.rows(),
                           p.draw<Real>("x", r, T * K),
                           p.draw<Real>("w" + std::to_string(i), r, N[i] * K, 1 / std::sqrt(float(K))),
                           p.draw<Real>("bias" + std::to_string(i), r, N[i]),
                           i == 0 ? naive::Function::gelu : naive::Function::none,
                           {},
                           N[i],
                           K};
    if (i == 1) return in;
    const auto all = p.draw<Real>("adapters", r, size(p), 0.3f);
    const auto a = all.begin() + rank(r) * kBefore, b = a + rank(r) * K;
    in.adapter = {{a, b}, {b, b + rank(r) * N[0]}, Real(scale(r)), p.mask(r, 5)};
    return in;
  }

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const int64_t T = p.rows().count(), K = p.C;
    naive::Array<Real> dx = p.accumulate ? p.draw<Real>("dx", r, T * K) : naive::Array<Real>(T * K);
    Outputs<Real> all;
    naive::Array<Real> dadapters(size(p));
    for (int i : {0, 1}) {
      const auto in = linear<Real>(p, r, i);
      const auto g = naive::linear_grad(in, p.draw<Real>("dy" + std::to_string(i), r, T * N[i]));
      dx = naive::added(dx, g.dx);
      all.insert(all.end(), {naive::linear(in), g.dproduct, g.dw, g.dbias});
      std::copy(g.da.begin(), g.da.end(), dadapters.begin() + rank(r) * kBefore);
      if (i == 0) std::copy(g.db.begin(), g.db.end(), dadapters.begin() + rank(r) * (kBefore + K));
    }
    all.insert(all.end(), {dx, dadapters});
    return all;
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const int64_t T = d.problem.rows().count(), K = d.problem.C;
    const Tensor x = d.in("x", {T, K}), dx = d.problem.accumulate ? d.in("dx", {T, K}) : d.out({T, K});
    std::vector<AdapterRank> ranks;
    for (int r : d.problem.replicas) ranks.push_back({static_cast<int32_t>(rank(r)), scale(r)});
    const Tensor dadapters = d.out({size(d.problem)});
    d.rig.ops().fill(dadapters, 0.0f);
    const Adapter adapter{.values = d.in("adapters", {size(d.problem)}, 0.3f),
                          .begin = kBefore,
                          .ranks = d.rig.array(ranks),
                          .x = x,
                          .dropout = d.dropout(5),
                          .dropped = d.problem.p > 0 ? d.out({T, K}) : x,
                          .low = d.out({T, kMost})};
    std::vector<Linear1> forwards;
    std::vector<Linear1Grad> grads;
    for (int i : {0, 1}) {
      const std::string n = std::to_string(i);
      forwards.push_back({.ragged = d.ragged(),
                          .x = x,
                          .w = d.in("w" + n, {N[i], K}, 1 / std::sqrt(float(K))),
                          .bias = d.in("bias" + n, {N[i]}),
                          .activation = i == 0 ? Activation::gelu : Activation::none,
                          .adapter = i == 0 ? adapter : Adapter{},
                          .saved = i == 0 ? d.out({T, N[i]}) : Tensor{},
                          .y = d.out({T, N[i]})});
      grads.push_back({.forward = forwards.back(),
                       .dy = d.in("dy" + n, {T, N[i]}),
                       .dx = dx,
                       .accumulate = d.problem.accumulate || i > 0,
                       .dw = d.out({N[i], K}),
                       .dbias = d.out({N[i]}),
                       .dlow = i == 0 ? d.out({T, kMost}) : Tensor{},
                       .dadapter = i == 0 ? dadapters : Tensor{}});
    }
    d.rig.ops().linear(forwards);
    d.rig.ops().linear_grad(grads);
    std::vector<Tensor> all;
    for (const Linear1Grad& g : grads) all.insert(all.end(), {g.forward.y, g.dy, g.dw, g.dbias});
    all.insert(all.end(), {dx, dadapters});
    return all;
  }
};

// Against a Linear whose weight is the identity matrix.
template <Activation kActivation, naive::Function kFunction>
struct ActivateRow {
  static constexpr const char* name = kActivation == Activation::gelu ? "activate with gelu" : "activate with tanh";

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const int64_t C = p.C, T = p.rows().count();
    naive::Array<Real> identity(C * C);
    for (int64_t i = 0; i < C; ++i) identity[i * C + i] = 1;
    const naive::Linear<Real> in{p.rows(), p.draw<Real>("x", r, T * C), identity, {}, kFunction, p.mask(r, 4), C, C};
    return {naive::linear(in), naive::linear_grad(in, p.draw<Real>("dy", r, T * C)).dx};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const Shape shape{d.problem.rows().count(), d.problem.C};
    const Linear1 forward{.ragged = d.ragged(),
                          .x = d.in("x", shape),
                          .activation = kActivation,
                          .dropout = d.dropout(4),
                          .saved = d.out(shape),
                          .y = d.out(shape)};
    const Linear1Grad grad{.forward = forward, .dy = d.in("dy", shape)};
    d.rig.ops().activate(forward);
    d.rig.ops().activate_grad(grad);
    return {forward.y, grad.dy};
  }
};

struct AttentionRow {
  static constexpr const char* name = "attention";

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const naive::Rows keys = p.rows(), queries = p.cls_only ? naive::Rows(p.ones()) : keys;
    const int64_t T = keys.count() * p.C, Q = queries.count() * p.C;
    const naive::Attention<Real> in{
        keys,        queries, p.heads, p.C, p.draw<Real>("q", r, Q), p.draw<Real>("k", r, T), p.draw<Real>("v", r, T),
        p.mask(r, 1)};
    const auto g = naive::attention_grad(in, p.draw<Real>("dcontext", r, Q));
    return {naive::attention(in), g.dq, g.dk, g.dv};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const Ragged keys = d.ragged(), queries = d.problem.cls_only ? d.ragged(d.problem.ones()) : keys;
    const Shape T{keys.rows, d.problem.C}, Q{queries.rows, d.problem.C};
    const Attention forward{.keys = keys,
                            .queries = queries,
                            .heads = d.problem.heads,
                            .q = d.in("q", Q),
                            .k = d.in("k", T),
                            .v = d.in("v", T),
                            .dropout = d.dropout(1),
                            .stats = d.out({queries.rows, d.problem.heads, 2}),
                            .kept = d.out(kept_shape(keys, queries, d.problem.heads)),
                            .context = d.out(Q)};
    const AttentionGrad grad{
        .forward = forward, .dcontext = d.in("dcontext", Q), .dq = d.out(Q), .dk = d.out(T), .dv = d.out(T)};
    d.rig.ops().attention(forward);
    d.rig.ops().attention_grad(grad);
    return {forward.context, grad.dq, grad.dk, grad.dv};
  }
};

struct ResidualNormRow {
  static constexpr const char* name = "residual_norm";

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const int64_t size = p.rows().count() * p.C;
    const naive::ResidualNorm<Real> in{p.rows(),
                                       p.draw<Real>("y", r, size),
                                       p.draw<Real>("residual", r, size, 1, 0.5f),
                                       p.draw<Real>("gamma", r, p.C, 0.2f, 1),
                                       p.draw<Real>("beta", r, p.C),
                                       Real(kEpsilon),
                                       p.mask(r, 2)};
    const auto g = naive::residual_norm_grad(in, p.draw<Real>("dx", r, size));
    return {naive::residual_norm(in), g.dy, g.dresidual, g.dgamma, g.dbeta};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const int64_t T = d.problem.rows().count(), C = d.problem.C;
    const ResidualNorm forward{.ragged = d.ragged(),
                               .y = d.in("y", {T, C}),
                               .residual = d.in("residual", {T, C}, 1, 0.5f),
                               .gamma = d.in("gamma", {C}, 0.2f, 1),
                               .beta = d.in("beta", {C}),
                               .epsilon = kEpsilon,
                               .dropout = d.dropout(2),
                               .sum = d.out({T, C}),
                               .mean = d.out({T}),
                               .rstd = d.out({T}),
                               .x = d.out({T, C})};
    const ResidualNormGrad grad{.forward = forward,
                                .dx = d.in("dx", {T, C}),
                                .dy = d.out({T, C}),
                                .dresidual = d.out({T, C}),
                                .dgamma = d.out({C}),
                                .dbeta = d.out({C})};
    d.rig.ops().residual_norm(forward);
    d.rig.ops().residual_norm_grad(grad);
    return {forward.x, grad.dy, grad.dresidual, grad.dgamma, grad.dbeta};
  }
};

// Without a residual, as in the head of a masked language model.
struct LayerNormRow {
  static constexpr const char* name = "residual_norm without a residual";

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const int64_t size = p.rows().count() * p.C;
    const naive::ResidualNorm<Real> in{p.rows(),
                                       p.draw<Real>("y", r, size),
                                       naive::Array<Real>(size),
                                       p.draw<Real>("gamma", r, p.C, 0.2f, 1),
                                       p.draw<Real>("beta", r, p.C),
                                       Real(kEpsilon),
                                       p.mask(r, 2)};
    const auto g = naive::residual_norm_grad(in, p.draw<Real>("dx", r, size));
    return {naive::residual_norm(in), g.dy, g.dgamma, g.dbeta};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const int64_t T = d.problem.rows().count(), C = d.problem.C;
    const Tensor y = d.in("y", {T, C});
    const ResidualNorm forward{.ragged = d.ragged(),
                               .y = y,
                               .gamma = d.in("gamma", {C}, 0.2f, 1),
                               .beta = d.in("beta", {C}),
                               .epsilon = kEpsilon,
                               .dropout = d.dropout(2),
                               .sum = y,
                               .mean = d.out({T}),
                               .rstd = d.out({T}),
                               .x = d.out({T, C})};
    const ResidualNormGrad grad{
        .forward = forward, .dx = d.in("dx", {T, C}), .dy = d.out({T, C}), .dgamma = d.out({C}), .dbeta = d.out({C})};
    d.rig.ops().residual_norm(forward);
    d.rig.ops().residual_norm_grad(grad);
    return {forward.x, grad.dy, grad.dgamma, grad.dbeta};
  }
};

struct SelectFirstRow {
  static constexpr const char* name = "select_first";

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const int64_t size = p.rows().count() * p.C, first = p.rows().sequences() * p.C;
    const auto dx = naive::select_first_grad(p.rows(), p.C, p.draw<Real>("dy", r, first));
    return {naive::select_first(p.rows(), p.C, p.draw<Real>("x", r, size)),
            naive::select_first(p.rows(), p.C, p.draw<Real>("xq", r, size)),
            p.accumulate ? naive::added(p.draw<Real>("dx", r, size), dx) : dx};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const int64_t T = d.problem.rows().count(), B = d.problem.rows().sequences(), C = d.problem.C;
    const Tensor y = d.out({B, C}), yq = d.out({B, C});
    const Tensor dx = d.problem.accumulate ? d.in("dx", {T, C}) : d.out({T, C});
    d.rig.ops().select_first(
        {.ragged = d.ragged(), .x = d.in("x", {T, C}), .y = y, .xq = d.in("xq", {T, C}), .yq = yq});
    d.rig.ops().select_first_grad(
        {.ragged = d.ragged(), .dy = d.in("dy", {B, C}), .dx = dx, .accumulate = d.problem.accumulate});
    return {y, yq, dx};
  }
};

struct CrossEntropyRow {
  static constexpr const char* name = "cross_entropy";
  static std::vector<int32_t> labels(const Problem& p) { return p.integers("labels", p.rows().sequences(), p.C); }
  // Those before `first` belong to the batch, too.
  static int64_t batch_rows(const Problem& p) { return p.first > 0 ? p.rows().sequences() + p.first : 0; }

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const auto logits = p.draw<Real>("logits", r, p.rows().sequences() * p.C, 3);
    const Real part = batch_rows(p) > 0 ? Real(p.rows().sequences()) / Real(batch_rows(p)) : Real{1};
    auto dlogits = naive::cross_entropy_grad(logits, p.C, labels(p));
    for (Real& d : dlogits) d *= part;
    return {{part * naive::cross_entropy(logits, p.C, labels(p))}, dlogits};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const int64_t B = d.problem.rows().sequences(), C = d.problem.C;
    const Tensor loss = d.out({1}), dlogits = d.out({B, C});
    d.rig.ops().cross_entropy({.logits = d.in("logits", {B, C}, 3),
                               .dlogits = dlogits,
                               .labels = d.rig.array(labels(d.problem)),
                               .loss = loss,
                               .batch_rows = batch_rows(d.problem)});
    return {loss, dlogits};
  }
};

// The same with a teacher's probabilities, for rows of a larger data set in another order.
struct SoftCrossEntropyRow {
  static constexpr const char* name = "cross_entropy with soft targets";
  static constexpr int64_t kDataRows = 11;
  static std::vector<int32_t> numbers(const Problem& p) {
    return p.integers("numbers", p.rows().sequences(), kDataRows);
  }
  static Floats table(const Problem& p) {
    Floats all;
    for (int64_t row = 0; row < kDataRows; ++row) {
      const Floats x = p.draw("target " + std::to_string(row), 0, p.C, 2);
      const Floats soft = naive::softmax(x.data(), p.C);
      all.insert(all.end(), soft.begin(), soft.end());
    }
    return all;
  }

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const auto logits = p.draw<Real>("logits", r, p.rows().sequences() * p.C, 3);
    const Floats all = table(p);
    std::vector<Real> targets;
    for (const int32_t row : numbers(p)) targets.insert(targets.end(), &all[row * p.C], &all[row * p.C] + p.C);
    return {{naive::soft_cross_entropy(logits, p.C, targets)}, naive::soft_cross_entropy_grad(logits, p.C, targets)};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const int64_t B = d.problem.rows().sequences(), C = d.problem.C;
    const Tensor loss = d.out({1}), dlogits = d.out({B, C});
    d.rig.ops().cross_entropy({.logits = d.in("logits", {B, C}, 3),
                               .dlogits = dlogits,
                               .labels = d.rig.array(std::vector<int32_t>(B, 0)),
                               .soft = {d.rig.array(table(d.problem)), d.rig.array(numbers(d.problem))},
                               .loss = loss});
    return {loss, dlogits};
  }
};

// A vocabulary that is no multiple of anything, in rows a little wider.
struct WideCrossEntropyRow {
  static constexpr const char* name = "wide_cross_entropy";
  static int classes(const Problem& p) { return p.C * 13 + 7; }
  static int columns(const Problem& p) { return (classes(p) + 15) / 16 * 16; }
  static std::vector<int32_t> labels(const Problem& p) { return p.integers("labels", p.rows().count(), classes(p)); }

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const int64_t rows = p.rows().count(), n = classes(p), wide = columns(p);
    const auto padded = p.draw<Real>("logits", r, rows * wide, 3);
    naive::Array<Real> logits, gradient(padded.size());
    for (int64_t m = 0; m < rows; ++m) logits.insert(logits.end(), &padded[m * wide], &padded[m * wide] + n);
    const auto dlogits = naive::cross_entropy_grad(logits, n, labels(p));
    for (int64_t m = 0; m < rows; ++m) std::copy_n(&dlogits[m * n], n, &gradient[m * wide]);
    return {{naive::cross_entropy(logits, n, labels(p))}, gradient, padded};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const int64_t rows = d.problem.rows().count();
    const Shape shape{rows, columns(d.problem)};
    WideCrossEntropy op{.ragged = d.ragged(),
                        .logits = d.in("logits", shape, 3),
                        .classes = classes(d.problem),
                        .labels = d.rig.array(labels(d.problem)),
                        .gradient = true,
                        .loss = d.out({1})};
    d.rig.ops().wide_cross_entropy(op);
    const Tensor gradient = op.logits;
    op.logits = d.in("logits", shape, 3);
    op.gradient = false;
    d.rig.ops().wide_cross_entropy(op);
    return {op.loss, gradient, op.logits};
  }
};

// The norm over two ranges of a flat buffer (what lies between counts for nothing) and compact rows; then AdamW on the
// ranges, the first with decay, with the clipped gradient of every step.
struct OptimizerRow {
  static constexpr const char* name = "clip_norm and adamw";
  static constexpr int64_t kSteps = 6;
  static constexpr float kLimit = 2;
  static Schedule schedule(int r) {
    return {.learning_rate = 0.01 * (r + 1), .weight_decay = 0.1, .warmup_steps = 2, .steps = kSteps};
  }
  static std::vector<ParameterRange> ranges(const Problem& p) {
    const int64_t T = p.rows().count();
    return {{0, 7 * T, true}, {7 * T + 5, T * p.C, false}};
  }

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const int64_t size = p.rows().count() * p.C, rows = 3 * p.C;
    naive::Array<Real> norms, values = p.draw<Real>("p", r, size), m(size), v(size);
    for (int64_t t = 0; t < kSteps; ++t) {
      const auto g = p.draw<Real>("g" + std::to_string(t), r, size), extra = p.draw<Real>("rows", r, rows);
      Real squares = 0;
      for (const auto& range : ranges(p))
        for (int64_t i = range.begin; i < range.end; ++i) squares += g[i] * g[i];
      for (Real e : extra) squares += e * e;
      norms.push_back(std::sqrt(squares));
      const Real scale = std::min(Real{1}, kLimit / (norms.back() + Real(1e-6)));
      for (const auto& range : ranges(p))
        for (int64_t i = range.begin; i < range.end; ++i) {
          naive::Moments<Real> s{values[i], m[i], v[i]};
          naive::adamw(s, g[i] * scale, t, Real(schedule(r).rate(t)),
                       range.decay ? Real(schedule(r).weight_decay) : Real{0});
          values[i] = s.p, m[i] = s.m, v[i] = s.v;
        }
    }
    norms.erase(norms.begin(), norms.end() - 1);
    return {norms, values, m, v};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const int64_t size = d.problem.rows().count() * d.problem.C;
    const auto ranges = OptimizerRow::ranges(d.problem);
    std::vector<float> rate, inverse_root, keep;
    for (int r : d.problem.replicas) {
      const AdamWRow row = adamw_row(schedule(r), 0.9, 0.999);
      rate.insert(rate.end(), row.rate.begin(), row.rate.end());
      inverse_root.insert(inverse_root.end(), row.inverse_root.begin(), row.inverse_root.end());
      keep.insert(keep.end(), row.keep.begin(), row.keep.end());
    }
    const AdamWTable table{d.rig.array(rate), d.rig.array(inverse_root), d.rig.array(keep), kSteps};
    const Tensor p = d.in("p", {size}), m = d.in("zero", {size}, 0), v = d.in("zero", {size}, 0), norm = d.out({1}),
                 scale = d.out({1});
    const Tensor rows = d.in("rows", {3, d.problem.C});
    const int32_t* three = d.rig.array(std::vector<int32_t>{3});
    for (int64_t t = 0; t < kSteps; ++t) {
      const Tensor g = d.in("g" + std::to_string(t), {size});
      d.rig.ops().clip_norm({.flat = g,
                             .ranges = ranges,
                             .rows = rows,
                             .row_count = three,
                             .limit = kLimit,
                             .norm = norm,
                             .scale = scale});
      d.rig.ops().adamw({.p = p,
                         .g = g,
                         .m = m,
                         .v = v,
                         .ranges = ranges,
                         .scale = scale,
                         .table = table,
                         .step = d.rig.array(std::vector<int64_t>{t})});
    }
    return {norm, p, m, v};
  }
};

struct AddRow {
  static constexpr const char* name = "add and fill";

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const int64_t size = p.rows().count() * p.C;
    return {naive::added(p.draw<Real>("to", r, size), p.draw<Real>("from", r, size)),
            naive::Array<Real>(size, Real{-1.5f})};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const Shape shape{d.problem.rows().count(), d.problem.C};
    const Tensor to = d.in("to", shape), filled = d.out(shape);
    d.rig.ops().add(d.in("from", shape), to);
    d.rig.ops().fill(filled, -1.5f);
    return {to, filled};
  }
};

// Every other row of a table, in descending order; the last row to come from is one too many.
struct ScatterRow {
  static constexpr const char* name = "scatter_rows";
  static int64_t count(const Problem& p) { return p.rows().count(); }
  static int32_t row(const Problem& p, int64_t u) { return static_cast<int32_t>(2 * (count(p) - u) - 1); }

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const auto from = p.draw<Real>("from", r, (count(p) + 1) * p.C);
    auto to = p.draw<Real>("to", r, (2 * count(p) + 1) * p.C);
    for (int64_t u = 0; u < count(p); ++u)
      for (int c = 0; c < p.C; ++c) {
        Real& value = to[row(p, u) * p.C + c];
        value = from[u * p.C + c] + (p.accumulate ? value : Real{0});
      }
    return {to};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const int64_t U = count(d.problem), C = d.problem.C;
    std::vector<int32_t> rows;
    for (int64_t u = 0; u < U; ++u) rows.push_back(row(d.problem, u));
    const Tensor to = d.in("to", {2 * U + 1, C});
    d.rig.ops().scatter_rows({.from = d.in("from", {U + 1, C}),
                              .rows = d.rig.array(rows),
                              .count = d.rig.array(std::vector<int32_t>{static_cast<int32_t>(U)}),
                              .to = to,
                              .accumulate = d.problem.accumulate});
    return {to};
  }
};

// Every other row of a sequence, the last one first, so that short sequences have one too.
struct GatherRow {
  static constexpr const char* name = "gather_rows";
  static std::vector<int32_t> rows(const Problem& p, std::vector<int32_t>& lengths) {
    std::vector<int32_t> rows;
    const naive::Rows all = p.rows();
    for (int b = 0; b < all.sequences(); ++b) {
      lengths.push_back((all.length(b) + 1) / 2);
      for (int i = (all.length(b) + 1) % 2; i < all.length(b); i += 2) rows.push_back(all.starts[b] + i);
    }
    return rows;
  }

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    std::vector<int32_t> lengths;
    const auto x = p.draw<Real>("x", r, p.rows().count() * p.C);
    naive::Array<Real> y;
    for (int32_t row : rows(p, lengths)) y.insert(y.end(), &x[row * p.C], &x[row * p.C] + p.C);
    return {y};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    std::vector<int32_t> lengths;
    const std::vector<int32_t> rows = GatherRow::rows(d.problem, lengths);
    const Tensor y = d.out({static_cast<int64_t>(rows.size()), d.problem.C});
    d.rig.ops().gather_rows({.chosen = {d.ragged(lengths), d.rig.array(rows)},
                             .x = d.in("x", {d.problem.rows().count(), d.problem.C}),
                             .y = y});
    return {y};
  }
};

// What three Linears read of one x: pruned by l1, at random and not at all, in another order for every replica.
struct PruneRow {
  static constexpr const char* name = "prune";
  static PruneSpec spec(int r, int which) {
    const PruneSpec specs[] = {
        {.method = PruneMethod::l1, .sparsity = 0.5f}, {.method = PruneMethod::random, .sparsity = 0.3f}, {}};
    return specs[(r + which) % 3];
  }
  // With the sequences' own numbers (cls_only), or their place in the batch.
  static std::vector<uint32_t> numbers(const Problem& p) {
    std::vector<uint32_t> all;
    for (uint32_t b = 0; b < p.lengths.size(); ++b)
      all.push_back(p.cls_only ? 1000 - 7 * b : static_cast<uint32_t>(p.first) + b);
    return all;
  }

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    const auto x = p.draw<Real>("x", r, p.rows().count() * p.C);
    Outputs<Real> all;
    auto dx = p.accumulate ? p.draw<Real>("dx", r, x.size()) : naive::Array<Real>(x.size());
    for (int i = 0; i < 3; ++i) {
      const auto dy = p.draw<Real>("dy" + std::to_string(i), r, x.size());
      all.push_back(naive::prune(spec(r, i), x, x, p.rows(), p.C, p.mask(r, 40 + i), numbers(p)));
      dx = naive::added(dx, naive::prune(spec(r, i), x, dy, p.rows(), p.C, p.mask(r, 40 + i), numbers(p)));
    }
    all.push_back(dx);
    return all;
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const Problem& p = d.problem;
    const Shape shape{p.rows().count(), p.C};
    const Tensor x = d.in("x", shape), dx = p.accumulate ? d.in("dx", shape) : d.out(shape);
    std::vector<int32_t> given;
    for (const uint32_t n : numbers(p)) given.push_back(static_cast<int32_t>(n));
    std::vector<Prune> forwards;
    std::vector<PruneGrad> grads;
    std::vector<Tensor> results;
    for (int i = 0; i < 3; ++i) {
      std::vector<PruneSpec> specs;
      for (int r : p.replicas) specs.push_back(spec(r, i));
      Dropout draw = d.dropout(40 + i);
      draw.p = 0;
      results.push_back(d.out(shape));
      forwards.push_back({.ragged = d.ragged(),
                          .slot = {d.rig.array(specs), 1},
                          .draw = draw,
                          .numbers = p.cls_only ? d.rig.array(given) : nullptr,
                          .x = x,
                          .threshold = d.out({shape[0]}),
                          .pruned = results.back()});
      grads.push_back({forwards.back(), d.in("dy" + std::to_string(i), shape), dx, p.accumulate || i > 0});
    }
    d.rig.ops().prune(forwards);
    d.rig.ops().prune_grad(grads);
    results.push_back(dx);
    return results;
  }
};

struct MaskRow {
  static constexpr const char* name = "apply_mask";

  template <class Real>
  static Outputs<Real> naive(const Problem& p, int r) {
    auto values = p.draw<Real>("to", r, p.rows().count() * p.C);
    const auto mask = p.draw<Real>("mask", r, values.size());
    for (size_t i = 0; i < values.size(); ++i)
      if (!(mask[i] > 0)) values[i] = 0;
    return {values};
  }

  static std::vector<Tensor> run(DeviceSide& d) {
    const Shape shape{d.problem.rows().count() * d.problem.C};
    const Tensor to = d.in("to", shape);
    d.rig.ops().apply_mask(d.in("mask", shape), to);
    return {to};
  }
};

struct OpRow {
  const char* name;
  std::function<std::vector<Tensor>(DeviceSide&)> run;
  std::function<Outputs<double>(const Problem&, int replica)> exact;
  std::function<Outputs<float>(const Problem&, int replica)> careless;  // the same loops in float
};
template <class Row>
OpRow row() {
  return {Row::name, Row::run, Row::template naive<double>, Row::template naive<float>};
}
inline const std::vector<OpRow> op_rows = {row<EmbedRow>(),
                                           row<LinearRow>(),
                                           row<AdapterRow>(),
                                           row<ActivateRow<Activation::gelu, naive::Function::gelu>>(),
                                           row<ActivateRow<Activation::tanh, naive::Function::tanh>>(),
                                           row<AttentionRow>(),
                                           row<ResidualNormRow>(),
                                           row<SelectFirstRow>(),
                                           row<CrossEntropyRow>(),
                                           row<SoftCrossEntropyRow>(),
                                           row<OptimizerRow>(),
                                           row<AddRow>(),
                                           row<ScatterRow>(),
                                           row<PruneRow>(),
                                           row<MaskRow>(),
                                           row<GatherRow>(),
                                           row<WideCrossEntropyRow>(),
                                           row<LayerNormRow>()};

}  // namespace mpq
