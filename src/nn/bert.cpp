#include "nn/bert.h"

#include <algorithm>
#include <array>

#include "base/text.h"
#include "nn/format_table.h"

namespace mpq {
namespace {

struct Preset {
  const char* name;
  int layers, hidden;
};
// Turc et al., "Well-Read Students Learn Better", 2019: heads of 64, feed-forward of 4 x hidden.
constexpr Preset presets[] = {
    {"tiny", 2, 128}, {"mini", 4, 256}, {"small", 4, 512}, {"medium", 8, 512}, {"base", 12, 768}};

}  // namespace

BertConfig parse_model(const std::string& text) {
  BertConfig c;
  for (const Preset& p : presets)
    if (text == p.name) {
      c.layers = p.layers, c.hidden = p.hidden, c.heads = p.hidden / 64, c.ffn = 4 * p.hidden;
      return c;
    }
  const auto parts = split(text, ',');
  const char* allowed =
      "allowed: tiny, mini, small, medium, base, or L,H,A,F (layers, hidden, heads, feed-forward), e.g. 4,256,4,1024";
  int* fields[] = {&c.layers, &c.hidden, &c.heads, &c.ffn};
  if (parts.size() != 4) throw UserError(fmt::format("--model {}: no such model", text), allowed);
  for (int i = 0; i < 4; ++i) {
    const auto n = parse_int(parts[i]);
    if (!n || *n < 1 || *n > 65536)
      throw UserError(fmt::format("--model {}: {} is not a size", text, parts[i]), allowed);
    *fields[i] = static_cast<int>(*n);
  }
  if (c.hidden % c.heads != 0 || c.hidden / c.heads < 8 || c.hidden / c.heads > 256)
    throw UserError(fmt::format("--model {}: hidden size {} over {} heads", text, c.hidden, c.heads),
                    "hidden must be a multiple of the heads, with 8 to 256 columns a head");
  return c;
}

std::vector<std::string> square_linears(const BertConfig& config) {
  std::vector<std::string> names;
  for (int l = 0; l < config.layers; ++l) {
    const std::string n = fmt::format("bert.encoder.layer.{}.", l);
    for (const char* part : {"attention.self.query", "attention.self.key", "attention.self.value",
                             "attention.output.dense", "intermediate.dense", "output.dense"})
      if (std::string_view(part).starts_with("attention.") || config.hidden == config.ffn) names.push_back(n + part);
  }
  names.push_back("bert.pooler.dense");
  return names;
}

Linear Bert::add_linear(const std::string& name, int out, int in) {
  if (config_.identities.contains(name)) {
    check(out == in, "{} of {} inputs and {} outputs is no identity", name, in, out);
    return {.name = name};
  }
  Linear linear{name, &parameters_.add(name + ".weight", {out, in}, true),
                &parameters_.add(name + ".bias", {out}, false), nullptr, static_cast<int>(linears_.size())};
  linears_.push_back(nullptr);  // filled when the Linear has its final place
  return linear;
}

Bert::Bert(const BertConfig& config, const AdapterPlan& adapters, Head head)
    : config_(config), head_(head), adapter_plan_(adapters) {
  const int C = config.hidden;
  const std::string e = "bert.embeddings.";
  position = &parameters_.add(e + "position_embeddings.weight", {config.positions, C}, true);
  type = &parameters_.add(e + "token_type_embeddings.weight", {config.types, C}, true);
  embedding_gamma = &parameters_.add(e + "LayerNorm.weight", {C}, false);
  embedding_beta = &parameters_.add(e + "LayerNorm.bias", {C}, false);
  for (int l = 0; l < config.layers; ++l) {
    const std::string n = fmt::format("bert.encoder.layer.{}.", l);
    layers.push_back({});
    BertLayer& layer = layers.back();
    layer.query = add_linear(n + "attention.self.query", C, C);
    layer.key = add_linear(n + "attention.self.key", C, C);
    layer.value = add_linear(n + "attention.self.value", C, C);
    layer.attention_output = add_linear(n + "attention.output.dense", C, C);
    layer.attention_gamma = &parameters_.add(n + "attention.output.LayerNorm.weight", {C}, false);
    layer.attention_beta = &parameters_.add(n + "attention.output.LayerNorm.bias", {C}, false);
    layer.intermediate = add_linear(n + "intermediate.dense", config.ffn, C);
    layer.output = add_linear(n + "output.dense", C, config.ffn);
    layer.output_gamma = &parameters_.add(n + "output.LayerNorm.weight", {C}, false);
    layer.output_beta = &parameters_.add(n + "output.LayerNorm.bias", {C}, false);
  }
  if (head == Head::masked_lm) {
    add_masked_lm_head();
  } else {
    pooler = add_linear("bert.pooler.dense", C, C);
    classifier = add_linear("classifier", config.classes, C);
  }
  add_quantizers();
  add_adapters();
  word = &parameters_.add(e + "word_embeddings.weight", {config.vocabulary, C}, true, head == Head::classifier);
  if (head == Head::masked_lm) parameters_.leave_room(int64_t{decoder_rows() - config.vocabulary} * C);
  add_tables();
}

void Bert::add_masked_lm_head() {
  const std::string n = "cls.predictions.";
  const int C = config_.hidden;
  masked_lm.transform = add_linear(n + "transform.dense", C, C);
  masked_lm.gamma = &parameters_.add(n + "transform.LayerNorm.weight", {C}, false);
  masked_lm.beta = &parameters_.add(n + "transform.LayerNorm.bias", {C}, false);
  masked_lm.bias = &parameters_.add(n + "bias", {config_.vocabulary}, false);
  parameters_.leave_room(decoder_rows() - config_.vocabulary);
}

void Bert::add_tables() {
  for (const Parameter* p : {word, position, type}) {
    const std::string name = p->name.substr(0, p->name.rfind('.'));
    tables_.push_back({name, p, format_rows()});
  }
}

// By their index, without identities.
std::vector<Linear*> Bert::each_linear() {
  std::vector<Linear*> all;
  for (BertLayer& layer : layers)
    all.insert(all.end(),
               {&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.intermediate, &layer.output});
  if (head_ == Head::masked_lm)
    all.push_back(&masked_lm.transform);
  else
    all.insert(all.end(), {&pooler, &classifier});
  std::erase_if(all, [](const Linear* linear) { return linear->is_identity(); });
  return all;
}

// What formats train.
void Bert::add_quantizers() {
  for (Linear* linear : each_linear()) {
    linear->trained = &parameters_.add(linear->name + ".quantizer", {4}, false);
    linears_[linear->index] = linear;
  }
}

// Last of the dense parameters: with the zeros behind a smaller replica's adapters their sum of squares ends as it does
// without.
void Bert::add_adapters() {
  int64_t widths = 0;
  for (Linear* linear : each_linear())
    if (adapter_plan_.has(linear->name)) {
      linear->adapter = widths;
      widths += linear->weight->shape[0] + linear->weight->shape[1];
    }
  if (widths > 0) adapters = &parameters_.add("adapters", {adapter_plan_.most_rank * widths}, true);
}

namespace {

// One forward pass; its members name what every layer needs.
class Forward {
 public:
  Forward(Tape& tape, const Bert& model, const BertTensors& t, const FormatTable& formats, const BertBatch& batch,
          const DropoutState& dropout)
      : tape_(tape), model_(model), t_(t), formats_(formats), batch_(batch), dropout_(dropout) {}

  Features masked_rows() {
    Features x = embeddings();
    for (size_t l = 0; l < model_.layers.size(); ++l) x = layer(x, l);
    return x;
  }

  Var run() {
    if (t_.values.replicas > 1 && t_.values.replica_stride == 0) go_together();
    Features x = embeddings();
    for (size_t l = 0; l < model_.layers.size(); ++l) x = layer(x, l);
    const Linear &pooler = model_.pooler, &classifier = model_.classifier;
    if (x.rank == 3)  // the last layer ran on all rows
      x = read_again(tape_, select_first(tape_, x, batch_.single_rows), std::vector{reader(pooler)}, 2);
    x = linear(tape_, input(tape_, x, pooler), 0, terms(pooler),
               {.activation = Activation::tanh,
                .dropout = hidden_dropout(3 * model_.config().layers + 1),
                .readers = std::vector{reader(classifier)}});
    return linear(tape_, input(tape_, x, classifier), 0, terms(classifier), {}).x;
  }

 private:
  // Replicas of the same parameters are one until their formats differ.
  void go_together() {
    const auto differs = [&](const auto& row) { return formats_.differs(row.index); };
    if (std::any_of(model_.tables().begin(), model_.tables().end(), differs)) return;
    tape_.set_replicas(1);
    const auto& linears = model_.linears();  // in the order they run
    const auto at = std::find_if(linears.begin(), linears.end(), [&](const Linear* l) { return differs(*l); });
    if (at != linears.end()) parting_ = *at;
  }
  // What each replica reads of x, of which there is one.
  Features part(Tape& tape, const Features& x, std::span<const Reader> readers) const {
    tape.set_replicas(formats_.replicas());
    return read_again(tape, x, readers, x.rank);
  }
  Tensor of_all_replicas(Tensor x) const {
    x.replicas = formats_.replicas();
    return x;
  }
  bool parts_at(const BertLayer& l) const {
    return parting_ && (parting_ == &l.query || parting_ == &l.key || parting_ == &l.value);
  }
  // `whole`: of [CLS] rows, what the Linear would read in all rows.
  Reader quantized_reader(const Linear& linear, const Features* whole = nullptr) const {
    Reader reader = formats_.reader(t_, linear);
    if (whole) reader.whole = {whole->read[0], batch_.ragged.starts};
    return reader;
  }
  // Of what is to be pruned first, or where replicas part, the producer makes no quantized copy.
  Reader reader(const Linear& linear, const Features* whole = nullptr) const {
    return formats_.pruning().any({&linear}) || &linear == parting_ ? Reader{} : quantized_reader(linear, whole);
  }
  PruneTerms pruning(const Linear& linear, const Features* whole = nullptr) const {
    constexpr int first_site = 1 << 16;  // dropout's lie below
    Dropout draw = dropout(0, first_site + linear.index);
    draw.seeds = dropout_.prune_seeds;
    return {formats_.pruning().slot(linear), draw, dropout_.on ? nullptr : batch_.numbers,
            quantized_reader(linear, whole), formats_.pruning().over_batch()};
  }
  // What the Linear reads of x.
  Features input(Tape& tape, const Features& x, const Linear& linear, const Features* whole = nullptr) const {
    if (&linear == parting_) return part(tape, x, std::array{quantized_reader(linear, whole)});
    if (!formats_.pruning().any({&linear})) return x;
    return prune(tape, x, std::array{pruning(linear, whole)})[0];
  }
  // Where one of them is pruned for any replica all are, some by nothing: so gradients are added to x's in one order,
  // whatever replicas share the session.
  std::array<LinearInput, 3> attention_inputs(Tape& tape, const Features& x, const BertLayer& l) const {
    std::array<LinearInput, 3> inputs{{{x, 0}, {x, 1}, {x, 2}}};
    if (!prunes_attention(l)) return inputs;
    const std::array linears{&l.query, &l.key, &l.value};
    std::vector<PruneTerms> products;
    for (int i = 0; i < 3; ++i)
      if (linears[i]->is_identity())
        inputs[i] = {linear(tape, x, 0, {}, {}), 0};  // before the others: their gradients are added first, as without
      else
        products.push_back(pruning(*linears[i]));
    const auto pruned = prune(tape, x, products);
    for (int i = 0, next = 0; i < 3; ++i)
      if (!linears[i]->is_identity()) inputs[i] = {pruned[next++], 0};
    return inputs;
  }
  bool prunes_attention(const BertLayer& l) const { return formats_.pruning().any({&l.query, &l.key, &l.value}); }
  LinearTerms terms(const Linear& linear) const {
    LinearTerms terms = formats_.terms(t_, linear);
    if (linear.adapter >= 0) terms.adapter = adapter(linear);
    return terms;
  }
  AdapterTerms adapter(const Linear& linear) const {
    const AdapterPlan& plan = model_.adapter_plan();
    const int first_site = 3 * model_.config().layers + 2;  // behind the model's own
    return {value(model_.adapters), grad(model_.adapters), linear.adapter,
            plan.most_rank,         t_.adapter_ranks,      dropout(plan.dropout, first_site + linear.index)};
  }
  Tensor value(const Parameter* p) const { return view(t_.values, *p); }
  Tensor grad(const Parameter* p) const { return grad_of(t_, *p); }
  Dropout dropout(float p, int site) const {
    return {dropout_.on ? p : 0.0f, dropout_.seeds, dropout_.step, static_cast<uint32_t>(site), dropout_.first};
  }
  Dropout hidden_dropout(int site) const { return dropout(model_.config().hidden_dropout, site); }
  static int site(size_t l) { return static_cast<int>(3 * l); }
  std::vector<Reader> attention_readers(size_t l) const {
    const BertLayer& layer = model_.layers[l];
    if (prunes_attention(layer) || parts_at(layer)) return {};
    return all_attention_readers(layer);
  }
  std::vector<Reader> all_attention_readers(const BertLayer& layer) const {
    return {quantized_reader(layer.query), quantized_reader(layer.key), quantized_reader(layer.value)};
  }
  // The gradients of a norm are computed together; where only one of its parameters is frozen, nobody reads that one's.
  Tensor norm_grad(const Parameter* p, const Parameter* other) const {
    return p->frozen && other->frozen ? Tensor{} : t_.grads ? view(t_.grads, *p) : Tensor{};
  }
  NormTerms norm(const Parameter* gamma, const Parameter* beta) const {
    return {value(gamma), value(beta), norm_grad(gamma, beta), norm_grad(beta, gamma),
            model_.config().layer_norm_epsilon};
  }

  Features embeddings() {
    const auto& tables = model_.tables();
    const EmbedTerms terms{formats_.rows_of(t_, tables[0]),
                           formats_.rows_of(t_, tables[1]),
                           formats_.rows_of(t_, tables[2]),
                           value(model_.embedding_gamma),
                           value(model_.embedding_beta),
                           model_.word->frozen ? Tensor{} : t_.dword,
                           grad(model_.position),
                           grad(model_.type),
                           norm_grad(model_.embedding_gamma, model_.embedding_beta),
                           norm_grad(model_.embedding_beta, model_.embedding_gamma),
                           model_.config().layer_norm_epsilon};
    return embed(tape_, terms, batch_.ragged, batch_.tokens, batch_.segments, hidden_dropout(0), attention_readers(0));
  }

  struct Projections {
    Var q, k, v;
  };
  // What the Linears of a layer read behind its projections, and what goes past the feed-forward ones.
  struct Stages {
    Features context, middle, wide;
    Var residual = nullptr;
  };

  // In the last layer only the first rows ([CLS]) go on, unless an output's format looks over the sequence.
  Features layer(const Features& below, size_t l) {
    const BertLayer& layer = model_.layers[l];
    const Features x = parts_at(layer) ? part(tape_, below, all_attention_readers(layer)) : below;
    const LinearTerms query = terms(layer.query), key = terms(layer.key), value = terms(layer.value);
    const auto [q, k, v] = attention_inputs(tape_, x, layer);
    const bool last = l + 1 == model_.layers.size(), masked = bool(batch_.masked);
    if (!last || masked || formats_.output_over_sequence()) {
      const auto qkv = linears(tape_, std::array{q, k, v}, std::array{&query, &key, &value});
      if (last && masked) return masked_output(l, x, {qkv[0], qkv[1], qkv[2]});
      return output(l, x, stages(tape_, l, x, {qkv[0], qkv[1], qkv[2]}),
                    last ? std::vector<Reader>{} : attention_readers(l + 1), 3);
    }
    const auto kv = linears(tape_, std::array{k, v}, std::array{&key, &value});
    const Features first = select_first(tape_, x, batch_.single_rows);
    const bool pruned = prunes_attention(layer) && !layer.query.is_identity();
    const Features first_q = pruned ? select_first(tape_, q.x, batch_.single_rows) : first;
    const Projections of_first{linear(tape_, first_q, 0, query, {}).x, kv[0], kv[1]};
    // A format that looks over the sequence has to see all rows. What it makes of the first ones is all they are for:
    // they have no part in the gradient, and behind the last format nothing is computed of them.
    const auto whole_stages = [&](Tape& tape, const Ragged& rows) {
      const auto among = [&](Features features) { return features.ragged = rows, features; };
      const LinearInput all_q{among(q.x), q.reader};
      const Var of_all = linears(tape, std::array{all_q}, std::array{&query})[0];
      return stages(tape, l, among(x), {of_all, kv[0], kv[1]});
    };
    if (formats_.input_tiles_over_rows() || (formats_.input_over_sequence() && tape_.observed())) {
      Tape forward_only(tape_.ops(), tape_.arena(), tape_.replicas(), false);
      const Stages whole = whole_stages(forward_only, batch_.ragged);
      return cls_output(l, first, stages(tape_, l, first, of_first, &whole));
    }
    const Before before{tape_.arena().mark(), tape_.replicas()};
    const Stages s = stages(tape_, l, first, of_first);
    if (formats_.input_over_sequence()) fill_zero_tiles(l, first, of_first, s, before, whole_stages);
    return cls_output(l, first, s);
  }

  // Where a format of first rows wants something of all rows for tiles of zeros only: if there is such a tile, which as
  // good as never happens, the stages of all rows are computed, then those of the first ones again, in the same places
  // (the tape's tensors come in the same order from `before` on).
  struct Before {
    size_t mark;
    int replicas;
  };
  template <class WholeStages>
  void fill_zero_tiles(size_t l, const Features& first, const Projections& of_first, const Stages& s, Before before,
                       const WholeStages& whole_stages) {
    const BertLayer& layer = model_.layers[l];
    Arena& arena = tape_.arena();
    const size_t after = arena.mark();
    const int32_t B = batch_.ragged.sequences;
    Ragged rows = batch_.ragged, ones = batch_.single_rows;
    NeedWhole need{.whole = batch_.ragged, .starts = arena.array<int32_t>(B + 1), .ones = arena.array<int32_t>(B + 1)};
    rows.starts = need.starts, ones.starts = need.ones;
    const std::pair<const Linear*, const Features*> inputs[] = {
        {&layer.attention_output, &s.context}, {&layer.intermediate, &s.middle}, {&layer.output, &s.wide}};
    for (const auto& [linear, stage] : inputs)
      if (const Reader reader = quantized_reader(*linear); reader.slot.over_sequence)
        need.rows[need.count++] = {reader.slot, of_all_replicas(stage->x->data)};
    if (!tape_.ops().need_whole(need)) return;
    Tape forward_only(tape_.ops(), arena, before.replicas, false);
    const Stages whole = whole_stages(forward_only, rows);
    const size_t end = arena.mark();
    arena.rewind(before.mark);
    Tape again(tape_.ops(), arena, before.replicas, tape_.recording());
    Features first_again = first;
    first_again.ragged = ones;
    stages(again, l, first_again, of_first, &whole);
    check(arena.mark() == after, "{} bytes where there were {}", arena.mark() - before.mark, after - before.mark);
    arena.rewind(end);
  }

  Features attend(Tape& tape, size_t l, const Ragged& queries, const Projections& p,
                  const std::vector<Reader>& readers) {
    return attention(tape, {batch_.ragged, queries, p.q, p.k, p.v, model_.config().heads},
                     dropout(model_.config().attention_dropout, site(l) + 1), readers);
  }

  Stages stages(Tape& tape, size_t l, const Features& rows, const Projections& p, const Stages* whole = nullptr) {
    const Features context =
        attend(tape, l, rows.ragged, p, {reader(model_.layers[l].attention_output, whole ? &whole->context : nullptr)});
    return behind_attention(tape, l, rows, context, whole);
  }

  Stages behind_attention(Tape& tape, size_t l, const Features& rows, const Features& context, const Stages* whole) {
    const BertLayer& layer = model_.layers[l];
    const auto of_whole = [&](Features Stages::*stage) { return whole ? &(whole->*stage) : nullptr; };
    const auto readers = [&](const Linear& next, Features Stages::*stage) {
      return std::vector{reader(next, of_whole(stage))};
    };
    Stages s;
    s.context = input(tape, context, layer.attention_output, of_whole(&Stages::context));
    const Features attended = linear(tape, s.context, 0, terms(layer.attention_output), {});
    const Features middle =
        residual_norm(tape, attended.x, rows.x, rows.ragged, norm(layer.attention_gamma, layer.attention_beta),
                      hidden_dropout(site(l) + 2), readers(layer.intermediate, &Stages::middle));
    s.residual = middle.x;
    s.middle = input(tape, middle, layer.intermediate, of_whole(&Stages::middle));
    const Features wide = linear(tape, s.middle, 0, terms(layer.intermediate),
                                 {.activation = Activation::gelu, .readers = readers(layer.output, &Stages::wide)});
    s.wide = input(tape, wide, layer.output, of_whole(&Stages::wide));
    return s;
  }

  // Behind attention only the masked rows go on: of a sequence, a format sees those.
  Features masked_output(size_t l, const Features& x, const Projections& p) {
    const Features rows = gather_rows(tape_, x, batch_.masked),
                   context = gather_rows(tape_, attend(tape_, l, x.ragged, p, {}), batch_.masked);
    const Features read = read_again(tape_, context, std::vector{reader(model_.layers[l].attention_output)}, 3);
    return output(l, rows, behind_attention(tape_, l, rows, read, nullptr), {reader(model_.masked_lm.transform)}, 3);
  }

  // Pooler and classifier see one row [1, C].
  Features cls_output(size_t l, const Features& first, const Stages& s) {
    return output(l, first, s, {reader(model_.pooler)}, 2);
  }
  Features output(size_t l, const Features& rows, const Stages& s, const std::vector<Reader>& readers, int rank) {
    const BertLayer& layer = model_.layers[l];
    const Features narrow = linear(tape_, s.wide, 0, terms(layer.output), {});
    return residual_norm(tape_, narrow.x, s.residual, rows.ragged, norm(layer.output_gamma, layer.output_beta),
                         hidden_dropout(site(l) + 3), readers, rank);
  }

  Tape& tape_;
  const Bert& model_;
  const BertTensors& t_;
  const FormatTable& formats_;
  const BertBatch& batch_;
  const DropoutState& dropout_;
  const Linear* parting_ = nullptr;  // where replicas that went together part
};

}  // namespace

Features masked_rows(Tape& tape, const Bert& model, const BertTensors& tensors, const FormatTable& formats,
                     const BertBatch& batch, const DropoutState& dropout) {
  return Forward(tape, model, tensors, formats, batch, dropout).masked_rows();
}

Tensor grad_of(const BertTensors& t, const Parameter& p) { return t.grads && !p.frozen ? view(t.grads, p) : Tensor{}; }

Var forward(Tape& tape, const Bert& model, const BertTensors& tensors, const FormatTable& formats,
            const BertBatch& batch, const DropoutState& dropout) {
  return Forward(tape, model, tensors, formats, batch, dropout).run();
}

}  // namespace mpq
