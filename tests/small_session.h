// Small models, batches and sessions that tests of whole steps share; everything compared as bits.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <random>

#include "tests/devices.h"
#include "tests/naive/bert.h"
#include "train/session.h"

namespace mpq {

using Floats = std::vector<float>;

inline const BertConfig small = {
    .layers = 2, .hidden = 16, .heads = 2, .ffn = 48, .vocabulary = 30, .positions = 24, .classes = 3};
constexpr int64_t kSteps = 12;

inline Split random_rows(const std::vector<int32_t>& lengths, unsigned seed) {
  std::mt19937 engine(seed);
  Split split;
  for (int32_t n : lengths) {
    for (int32_t i = 0; i < n; ++i) split.tokens.push_back(static_cast<int32_t>(engine() % small.vocabulary));
    split.row_starts.push_back(static_cast<int64_t>(split.tokens.size()));
    split.labels.push_back(static_cast<int32_t>(engine() % small.classes));
  }
  return split;
}
inline Batch batch_of(const std::vector<int32_t>& lengths, unsigned seed) {
  std::vector<int64_t> rows(lengths.size());
  std::iota(rows.begin(), rows.end(), 0);
  return make_batch(random_rows(lengths, seed), rows);
}
inline Batch batch_at(int64_t step) {
  return batch_of({5, 1, 20, 3 + static_cast<int32_t>(step % 4)}, 100 + static_cast<unsigned>(step));
}

struct Wish {
  std::string format = "none";
  uint64_t seed = 42;
  double rate = 1e-2;
};
inline Replica replica(const Bert& model, const Wish& w, int64_t steps = kSteps) {
  return {.seed = w.seed,
          .schedule = {.learning_rate = w.rate, .weight_decay = 0.01, .warmup_steps = 2, .steps = steps},
          .formats = std::vector<LinearSpec>(model.linears().size(), parse_linear_spec(w.format))};
}
inline const SessionOptions small_options{.batch_rows = 8, .eval_rows = 8, .max_tokens = small.positions};
inline std::unique_ptr<Session> open_session(Device& device, const Bert& model, std::vector<Replica> replicas) {
  auto session = std::make_unique<Session>(device, model, std::move(replicas), small_options);
  for (int r = 0; r < session->replicas(); ++r) session->initialise(r);
  return session;
}

// Everything a replica has learnt, and what it says; as bits to compare.
inline std::vector<Floats> everything(Session& s, int r) {
  std::vector<Floats> all;
  for (const Parameter& p : s.model().parameters().all()) all.push_back(s.get(r, p));
  const OptimizerState state = s.optimizer_state(r);
  all.insert(all.end(), {state.m, state.v, s.logits(batch_at(99))[r]});
  return all;
}

// A model with numbers that make every gradient matter (initial biases are zero).
inline naive::Parameters<double> random_parameters(const Bert& model) {
  std::mt19937 engine(3);
  naive::Parameters<double> all;
  for (const Parameter& p : model.parameters().all()) {
    std::normal_distribution<float> normal(p.name.ends_with("LayerNorm.weight") ? 1.0f : 0.0f, 0.2f);
    for (int64_t i = 0; i < p.shape.size(); ++i) all[p.name].push_back(normal(engine));
  }
  return all;
}
template <class Real>
naive::BertPass<Real> naive_pass(const naive::Parameters<Real>& parameters, const Batch& b,
                                 const BertConfig& config = small) {
  std::vector<int32_t> lengths;
  for (size_t i = 0; i + 1 < b.row_starts.size(); ++i) lengths.push_back(b.row_starts[i + 1] - b.row_starts[i]);
  if (b.masked_rows.empty()) return {config, parameters, naive::Rows(lengths), b.tokens, b.labels, 42, 0};
  naive::Chosen chosen{b.masked_rows, {}};
  chosen.rows.starts = b.masked_starts;
  return {config, parameters, naive::Rows(lengths), b.tokens, b.masked_tokens, 42, 0, chosen};
}

double largest_difference(const auto& a, const naive::Array<double>& exact) {
  double worst = 0;
  for (size_t i = 0; i < exact.size() && !std::isnan(worst); ++i)
    if (const double d = std::abs(a[i] - exact[i]); !(d <= worst)) worst = d;
  return worst;
}

inline double largest(const naive::Array<double>& a) { return largest_difference(naive::Array<double>(a.size()), a); }

inline void set_all(Session& session, const naive::Parameters<double>& parameters) {
  for (const auto& [name, values] : parameters)
    if (const Parameter* p = session.model().parameters().find(name))
      session.set(0, *p, Floats(values.begin(), values.end()));
}

// Loss, norm and gradient of the session's last step against the naive BERT's: as tests/ops_test.cpp, at most twice the
// error of the naive float32 evaluation (or `times` it), and 4 ulp of the largest value. Parameters that only the naive
// one has are left out.
inline void expect_gradient(Session& session, const Session::StepResult& result,
                            const naive::Parameters<double>& parameters, const Batch& batch,
                            const BertConfig& config = small, double times = 2) {
  naive::Parameters<float> careless_parameters;
  for (const auto& [name, values] : parameters) careless_parameters[name].assign(values.begin(), values.end());
  auto pass = naive_pass(parameters, batch, config);
  EXPECT_NEAR(result.loss[0], pass.loss(), 4 * 0x1p-23 * pass.loss());
  const auto exact = pass.gradient();
  const auto careless = naive_pass(careless_parameters, batch, config).gradient();
  double squares = 0;
  for (const auto& [name, grad] : exact) {
    const Parameter* p = session.model().parameters().find(name);
    if (!p) continue;
    // A weight and its bias share one scale: the gradient of a key's bias is a sum of such terms that is zero.
    const std::string linear = name.substr(0, name.rfind('.'));
    const auto largest_of = [&](const std::string& n) { return exact.contains(n) ? largest(exact.at(n)) : 0; };
    const double top = std::max(largest_of(linear + ".weight"), largest_of(linear + ".bias"));
    const double allowed = times * largest_difference(careless.at(name), grad) + 4 * 0x1p-23 * top;
    EXPECT_LE(largest_difference(session.gradient(0, *p), grad), allowed) << name << ", largest " << top;
    for (double g : grad) squares += g * g;
  }
  EXPECT_NEAR(result.norm[0], std::sqrt(squares), 1e-6 * std::sqrt(squares));
}

inline void expect_same_bits(const std::vector<Floats>& a, const std::vector<Floats>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(a[i].size(), b[i].size());
    EXPECT_EQ(std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)), 0) << "item " << i;
  }
}

}  // namespace mpq
