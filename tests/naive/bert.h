// A whole BERT of naive operations and its gradient; parameters by their names. With chosen rows a masked language
// model: only they go on behind the last attention (which dropout notices, since it goes by places).
#pragma once
#include <map>
#include <string>

#include "nn/bert.h"
#include "tests/naive/ops.h"

namespace mpq::naive {

template <class Real>
using Parameters = std::map<std::string, Array<Real>>;

// Rows of a ragged batch, as a batch of their own.
struct Chosen {
  std::vector<int32_t> at;
  Rows rows;
};

template <class Real>
class BertPass {
 public:
  // `labels`: of the sequences, or of the chosen rows.
  BertPass(const BertConfig& config, const Parameters<Real>& parameters, const Rows& rows,
           const std::vector<int32_t>& tokens, const std::vector<int32_t>& labels, uint64_t seed, int64_t step,
           const Chosen& chosen = {})
      : config_(config),
        parameters_(parameters),
        rows_(rows),
        chosen_(chosen),
        labels_(labels),
        classes_(chosen.at.empty() ? config.classes : config.vocabulary),
        seed_(seed),
        step_(step),
        embed_(embedding(tokens)) {
    Array<Real> x = embed(embed_);
    for (int l = 0; l < config.layers; ++l) x = layer(l, x);
    chosen.at.empty() ? classifier(x) : masked_lm(x);
  }

  const Array<Real>& logits() const { return logits_; }
  Real loss() const { return cross_entropy(logits_, classes_, labels_); }

  Parameters<Real> gradient() {
    Array<Real> d = cross_entropy_grad(logits_, classes_, labels_);
    d = chosen_.at.empty() ? classifier_back(d) : masked_lm_back(d);
    for (int l = config_.layers - 1; l >= 0; --l) d = layer_back(l, d);
    const EmbedGrad<Real> g = embed_grad(embed_, d);
    const std::string e = "bert.embeddings.";
    Array<Real>& word = gradient_[e + "word_embeddings.weight"];
    word = word.empty() ? g.dword : added(word, g.dword);  // it may be the decoder too
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
  ResidualNorm<Real> norm_of(const std::string& name, const Rows& rows, const Array<Real>& y,
                             const Array<Real>& residual, int site) const {
    return {rows,
            y,
            residual,
            p(name + ".weight"),
            p(name + ".bias"),
            Real(config_.layer_norm_epsilon),
            mask(config_.hidden_dropout, site)};
  }

  void masked_lm(const Array<Real>& x) {
    const std::string n = "cls.predictions.";
    transform_ = linear_of(n + "transform.dense", x, chosen_.rows, Function::gelu, config_.hidden);
    const Array<Real> y = linear(transform_);
    head_norm_ = norm_of(n + "transform.LayerNorm", chosen_.rows, y, Array<Real>(y.size()), 0);
    head_norm_.mask = {};
    decoder_ = {chosen_.rows,
                residual_norm(head_norm_),
                p("bert.embeddings.word_embeddings.weight"),
                p(n + "bias"),
                Function::none,
                {},
                config_.vocabulary,
                config_.hidden};
    logits_ = linear(decoder_);
  }
  Array<Real> masked_lm_back(const Array<Real>& dlogits) {
    const std::string n = "cls.predictions.";
    const LinearGrad<Real> g = linear_grad(decoder_, dlogits);
    gradient_["bert.embeddings.word_embeddings.weight"] = g.dw;
    gradient_[n + "bias"] = g.dbias;
    return back(n + "transform.dense", transform_, back_norm(n + "transform.LayerNorm", head_norm_, g.dx).dy);
  }
  void classifier(const Array<Real>& x) {
    const Rows single(std::vector<int32_t>(labels_.size(), 1));
    pooler_ =
        linear_of("bert.pooler.dense", select_first(rows_, config_.hidden, x), single, Function::tanh, config_.hidden);
    pooler_.mask = mask(config_.hidden_dropout, 3 * config_.layers + 1);
    classifier_ = linear_of("classifier", linear(pooler_), single, Function::none, config_.classes);
    logits_ = linear(classifier_);
  }
  Array<Real> classifier_back(const Array<Real>& dlogits) {
    const Array<Real> d = back("bert.pooler.dense", pooler_, back("classifier", classifier_, dlogits));
    return select_first_grad(rows_, config_.hidden, d);
  }

  // Whether only the chosen rows go on behind the attention of this layer; what those are, and back.
  bool chooses(int l) const { return !chosen_.at.empty() && l + 1 == config_.layers; }
  Array<Real> choose(int l, const Array<Real>& x) const {
    if (!chooses(l)) return x;
    Array<Real> y;
    for (const int32_t row : chosen_.at)
      y.insert(y.end(), &x[row * config_.hidden], &x[row * config_.hidden] + config_.hidden);
    return y;
  }
  Array<Real> choose_back(int l, const Array<Real>& dy) const {
    if (!chooses(l)) return dy;
    Array<Real> dx(rows_.count() * config_.hidden);
    for (size_t m = 0; m < chosen_.at.size(); ++m)
      std::copy_n(&dy[m * config_.hidden], config_.hidden, &dx[chosen_.at[m] * config_.hidden]);
    return dx;
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
    const Rows& rows = chooses(l) ? chosen_.rows : rows_;
    s.attention_output =
        linear_of(n + "attention.output.dense", choose(l, attention(s.attention)), rows, Function::none, C);
    s.attention_norm =
        norm_of(n + "attention.output.LayerNorm", rows, linear(s.attention_output), choose(l, x), 3 * l + 2);
    const Array<Real> middle = residual_norm(s.attention_norm);
    s.intermediate = linear_of(n + "intermediate.dense", middle, rows, Function::gelu, config_.ffn);
    s.output = linear_of(n + "output.dense", linear(s.intermediate), rows, Function::none, C);
    s.output_norm = norm_of(n + "output.LayerNorm", rows, linear(s.output), middle, 3 * l + 3);
    return residual_norm(s.output_norm);
  }

  Array<Real> layer_back(int l, const Array<Real>& dx) {
    const std::string n = prefix(l);
    const Layer& s = layers_[l];
    const auto outer = back_norm(n + "output.LayerNorm", s.output_norm, dx);
    const Array<Real> wide = back(n + "output.dense", s.output, outer.dy);
    const Array<Real> middle = added(outer.dresidual, back(n + "intermediate.dense", s.intermediate, wide));
    const auto inner = back_norm(n + "attention.output.LayerNorm", s.attention_norm, middle);
    const Array<Real> dcontext = back(n + "attention.output.dense", s.attention_output, inner.dy);
    const auto a = attention_grad(s.attention, choose_back(l, dcontext));
    Array<Real> d = choose_back(l, inner.dresidual);
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
  Chosen chosen_;
  std::vector<int32_t> labels_;
  int classes_;
  uint64_t seed_;
  int64_t step_;
  Embed<Real> embed_;
  std::vector<Layer> layers_;
  Linear<Real> pooler_, classifier_, transform_, decoder_;
  ResidualNorm<Real> head_norm_;
  Array<Real> logits_;
  Parameters<Real> gradient_;
};

}  // namespace mpq::naive
