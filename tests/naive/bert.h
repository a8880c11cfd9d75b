// A whole BERT of naive operations, every row of every layer computed, and its gradient; parameters by their names.
#pragma once
#include <map>
#include <string>

#include "nn/bert.h"
#include "tests/naive/ops.h"

namespace mpq::naive {

template <class Real>
using Parameters = std::map<std::string, Array<Real>>;

template <class Real>
class BertPass {
 public:
  BertPass(const BertConfig& config, const Parameters<Real>& parameters, const Rows& rows,
           const std::vector<int32_t>& tokens, const std::vector<int32_t>& labels, uint64_t seed, int64_t step)
      : config_(config),
        parameters_(parameters),
        rows_(rows),
        labels_(labels),
        seed_(seed),
        step_(step),
        embed_(embedding(tokens)) {
    Array<Real> x = embed(embed_);
    for (int l = 0; l < config.layers; ++l) x = layer(l, x);
    const Rows single(std::vector<int32_t>(labels.size(), 1));
    pooler_ =
        linear_of("bert.pooler.dense", select_first(rows, config.hidden, x), single, Function::tanh, config.hidden);
    pooler_.mask = mask(config.hidden_dropout, 3 * config.layers + 1);
    classifier_ = linear_of("classifier", linear(pooler_), single, Function::none, config.classes);
    logits_ = linear(classifier_);
  }

  const Array<Real>& logits() const { return logits_; }
  Real loss() const { return cross_entropy(logits_, config_.classes, labels_); }

  Parameters<Real> gradient() {
    Array<Real> d = back("classifier", classifier_, cross_entropy_grad(logits_, config_.classes, labels_));
    d = select_first_grad(rows_, config_.hidden, back("bert.pooler.dense", pooler_, d));
    for (int l = config_.layers - 1; l >= 0; --l) d = layer_back(l, d);
    const EmbedGrad<Real> g = embed_grad(embed_, d);
    const std::string e = "bert.embeddings.";
    gradient_[e + "word_embeddings.weight"] = g.dword;
    gradient_[e + "position_embeddings.weight"] = g.dposition;
    gradient_[e + "token_type_embeddings.weight"] = g.dtype;
    gradient_[e + "LayerNorm.weight"] = g.dgamma;
    gradient_[e + "LayerNorm.bias"] = g.dbeta;
    return gradient_;
  }

 private:
  struct Layer {
    Linear<Real> query, key, value, attention_output, intermediate, output;
    Attention<Real> attention;
    ResidualNorm<Real> attention_norm, output_norm;
  };

  const Array<Real>& p(const std::string& name) const { return parameters_.at(name); }
  Mask mask(float p, int site) const { return {p, seed_, step_, static_cast<uint32_t>(site)}; }
  static std::string prefix(int l) { return "bert.encoder.layer." + std::to_string(l) + "."; }

  Embed<Real> embedding(const std::vector<int32_t>& tokens) const {
    const std::string e = "bert.embeddings.";
    return {rows_,
            tokens,
            p(e + "word_embeddings.weight"),
            p(e + "position_embeddings.weight"),
            p(e + "token_type_embeddings.weight"),
            p(e + "LayerNorm.weight"),
            p(e + "LayerNorm.bias"),
            Real(config_.layer_norm_epsilon),
            mask(config_.hidden_dropout, 0)};
  }
  Linear<Real> linear_of(const std::string& name, const Array<Real>& x, const Rows& rows, Function f, int64_t N) const {
    Linear<Real> l{
        rows, x, p(name + ".weight"), p(name + ".bias"), f, {}, N, static_cast<int64_t>(x.size()) / rows.count()};
    if (const auto a = parameters_.find(name + ".lora_A"); a != parameters_.end())
      l.adapter = {a->second, p(name + ".lora_B"), p("lora_scale")[0],
                   mask(float(p("lora_dropout")[0]), site_of(name))};
    return l;
  }
  // An adapter's: behind the sites of the model's own dropouts, by the Linear's place in the model.
  int site_of(const std::string& linear) const {
    static const std::vector<std::string> in_layer = {"attention.self.query", "attention.self.key",
                                                      "attention.self.value", "attention.output.dense",
                                                      "intermediate.dense",   "output.dense"};
    std::vector<std::string> all;
    for (int l = 0; l < config_.layers; ++l)
      for (const std::string& name : in_layer) all.push_back(prefix(l) + name);
    all.push_back("bert.pooler.dense");
    return 3 * config_.layers + 2 + static_cast<int>(std::find(all.begin(), all.end(), linear) - all.begin());
  }
  ResidualNorm<Real> norm_of(const std::string& name, const Array<Real>& y, const Array<Real>& residual,
                             int site) const {
    return {rows_,
            y,
            residual,
            p(name + ".weight"),
            p(name + ".bias"),
            Real(config_.layer_norm_epsilon),
            mask(config_.hidden_dropout, site)};
  }

  Array<Real> layer(int l, const Array<Real>& x) {
    const std::string n = prefix(l);
    const int C = config_.hidden;
    Layer& s = layers_.emplace_back();
    s.query = linear_of(n + "attention.self.query", x, rows_, Function::none, C);
    s.key = linear_of(n + "attention.self.key", x, rows_, Function::none, C);
    s.value = linear_of(n + "attention.self.value", x, rows_, Function::none, C);
    s.attention = {rows_,           rows_,         config_.heads,   C,
                   linear(s.query), linear(s.key), linear(s.value), mask(config_.attention_dropout, 3 * l + 1)};
    s.attention_output = linear_of(n + "attention.output.dense", attention(s.attention), rows_, Function::none, C);
    s.attention_norm = norm_of(n + "attention.output.LayerNorm", linear(s.attention_output), x, 3 * l + 2);
    const Array<Real> middle = residual_norm(s.attention_norm);
    s.intermediate = linear_of(n + "intermediate.dense", middle, rows_, Function::gelu, config_.ffn);
    s.output = linear_of(n + "output.dense", linear(s.intermediate), rows_, Function::none, C);
    s.output_norm = norm_of(n + "output.LayerNorm", linear(s.output), middle, 3 * l + 3);
    return residual_norm(s.output_norm);
  }

  Array<Real> layer_back(int l, const Array<Real>& dx) {
    const std::string n = prefix(l);
    const Layer& s = layers_[l];
    const auto outer = back_norm(n + "output.LayerNorm", s.output_norm, dx);
    const Array<Real> wide = back(n + "output.dense", s.output, outer.dy);
    const Array<Real> middle = added(outer.dresidual, back(n + "intermediate.dense", s.intermediate, wide));
    const auto inner = back_norm(n + "attention.output.LayerNorm", s.attention_norm, middle);
    const auto a = attention_grad(s.attention, back(n + "attention.output.dense", s.attention_output, inner.dy));
    Array<Real> d = inner.dresidual;
    d = added(d, back(n + "attention.self.query", s.query, a.dq));
    d = added(d, back(n + "attention.self.key", s.key, a.dk));
    return added(d, back(n + "attention.self.value", s.value, a.dv));
  }

  Array<Real> back(const std::string& name, const Linear<Real>& in, const Array<Real>& dy) {
    const LinearGrad<Real> g = linear_grad(in, dy);
    gradient_[name + ".weight"] = g.dw;
    gradient_[name + ".bias"] = g.dbias;
    if (!g.da.empty()) gradient_[name + ".lora_A"] = g.da, gradient_[name + ".lora_B"] = g.db;
    return g.dx;
  }
  ResidualNormGrad<Real> back_norm(const std::string& name, const ResidualNorm<Real>& in, const Array<Real>& dx) {
    const ResidualNormGrad<Real> g = residual_norm_grad(in, dx);
    gradient_[name + ".weight"] = g.dgamma;
    gradient_[name + ".bias"] = g.dbeta;
    return g;
  }

  const BertConfig& config_;
  const Parameters<Real>& parameters_;
  Rows rows_;
  std::vector<int32_t> labels_;
  uint64_t seed_;
  int64_t step_;
  Embed<Real> embed_;
  std::vector<Layer> layers_;
  Linear<Real> pooler_, classifier_;
  Array<Real> logits_;
  Parameters<Real> gradient_;
};

}  // namespace mpq::naive
