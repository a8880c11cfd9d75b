#include "nn/format_table.h"

#include <type_traits>

namespace mpq {

namespace {

enum Operand { kX, kW, kB, kY };

// Tiles that must divide a tensor are refused before the first step. A review has any number of rows: a prime of them
// stands for all, so that only tiles of one row, or of all rows, pass.
void check_tiles(const QuantSpec& spec, Role role, const QuantShape& shape, const std::string& name) {
  try {
    visit(spec, [&](const auto& format) {
      if constexpr (TileFormat<std::remove_cvref_t<decltype(format)>>) format.tiles(role, shape);
    });
  } catch (const UserError& error) {
    throw UserError(fmt::format("{} of {}: {}", to_text(spec), name, error.what()),
                    error.hint() + "; reviews have any number of rows, so tiles of activations are 1xN");
  }
}
void check_tiles(const LinearSpec& spec, const Linear& linear) {
  constexpr int64_t any_rows = 8191;
  const int64_t out = linear.weight->shape[0], in = linear.weight->shape[1];
  check_tiles(spec.x, Role::activation, {3, {1, any_rows, in}}, linear.name + "'s input");
  check_tiles(spec.w, Role::weight, {2, {out, in, 1}}, linear.name + "'s weight");
  check_tiles(spec.b, Role::bias, {1, {out, 1, 1}}, linear.name + "'s bias");
  check_tiles(spec.y, Role::activation, {3, {1, any_rows, out}}, linear.name + "'s output");
}

void check_tiles(const LinearSpec& spec, const EmbeddingTable& table) {
  const Shape& s = table.weight->shape;
  check(spec == LinearSpec{.x = {}, .w = spec.w, .b = {}, .y = {}}, "{} is no Linear", table.name);
  check(trained_count(spec.w) == 0, "{} of {} trains something", to_text(spec.w), table.name);
  check_tiles(spec.w, Role::weight, {2, {s[0], s[1], 1}}, table.name);
}

}  // namespace

FormatTable::FormatTable(const Bert& model, const std::vector<std::vector<LinearSpec>>& specs,
                         const std::vector<Pruning>& prunings)
    : replicas_(static_cast<int>(specs.size())),
      linears_(static_cast<int>(model.linears().size())),
      rows_(model.format_rows()),
      pruning_(model, prunings) {
  for (const auto& replica : specs) add_specs(model, replica);
  const int word = model.tables()[0].index;
  for (const EmbeddingTable& table : model.tables()) weights_quantized_ |= any(table.index, kW);
  for (int r = 0; r < replicas_; ++r) words_together_ |= reach(spec(r, word, kW), Role::weight) == Reach::sequence;
  for (int i = 0; i < linears_; ++i) {
    shares_input_with_.push_back(i);
    weights_quantized_ |= any(i, kW) || any(i, kB);
    for (int r = 0; r < replicas_; ++r) weights_scaled_ |= trained_count(spec(r, i, kX)) > 0;
  }
  weights_quantized_ |= weights_scaled_;
  const auto equal_inputs = [&](int a, int b) {
    for (int r = 0; r < replicas_; ++r)
      if (!(spec(r, a, kX) == spec(r, b, kX)) || trained_count(spec(r, a, kX)) > 0) return false;
    return true;
  };
  for (const BertLayer& layer : model.layers)
    for (int i : {layer.key.index, layer.value.index})
      for (int j : {layer.query.index, layer.key.index})
        if (j >= 0 && j < i && shares_input_with_[i] == i && equal_inputs(i, j))
          shares_input_with_[i] = shares_input_with_[j];
  const BertLayer& last = model.layers.back();
  const auto plan = [&](const Linear& linear, int operand) {
    return linear.is_identity() ? QuantSlot{} : slot(linear.index, operand);
  };
  for (const Linear* linear : {&last.attention_output, &last.intermediate, &last.output}) {
    input_over_sequence_ |= plan(*linear, kX).over_sequence;
    input_tiles_over_rows_ |= plan(*linear, kX).tiles_over_rows;
    output_over_sequence_ |= plan(*linear, kY).over_sequence;
  }
  output_over_sequence_ |= plan(last.query, kY).over_sequence || pruning_.over_batch();
}

void FormatTable::add_specs(const Bert& model, std::vector<LinearSpec> specs) {
  check(std::ssize(specs) >= linears_ && std::ssize(specs) <= rows_, "{} specs for {} Linears", specs.size(), linears_);
  specs.resize(rows_);
  for (int i = 0; i < linears_; ++i) check_tiles(specs[i], *model.linears()[i]);
  for (const EmbeddingTable& table : model.tables()) check_tiles(specs[table.index], table);
  for (const LinearSpec& s : specs) table_.insert(table_.end(), {s.x, s.w, s.b, s.y});
}

int64_t FormatTable::quantized_size(const Bert& model) const {
  if (any(model.tables()[0].index, kW)) return model.parameters().size();
  return weights_quantized_ ? model.parameters().dense_size() : 0;
}

QuantSlot FormatTable::slot(int row, int operand) const {
  QuantSlot slot{(specs_ ? specs_ : table_.data()) + row * 4 + operand, int64_t{rows_} * 4};
  for (int r = 0; r < replicas_; ++r) plan_for(slot, spec(r, row, operand));
  return slot;
}

bool FormatTable::any(int row, int operand) const {
  for (int r = 0; r < replicas_; ++r)
    if (spec(r, row, operand).format != Format::none) return true;
  return false;
}

bool FormatTable::differs(int row) const {
  for (int r = 1; r < replicas_; ++r)
    for (const int operand : {kX, kW, kB, kY})
      if (!(spec(r, row, operand) == spec(0, row, operand))) return true;
  return false;
}

Reader FormatTable::reader(const BertTensors& t, const Linear& linear) const {
  if (linear.is_identity() || !any(linear.index, kX)) return {};
  Reader reader{.slot = slot(shares_input_with_[linear.index], kX)};
  for (int r = 0; r < replicas_; ++r)
    if (!gradient_is_identity(spec(r, linear.index, kX))) reader.identity_gradient = false;
  if (reader.identity_gradient) return reader;
  reader.slot.trained = view(t.values, *linear.trained);
  reader.dtrained = grad_of(t, *linear.trained);
  return reader;
}

// Of the weight or the quantizer. Gamma's gradient is made of the weight's, in one pass: where either is trained, both
// are computed, and nobody reads the frozen one's.
Tensor FormatTable::weight_grad(const BertTensors& t, const Linear& linear, const Parameter& p) const {
  bool gamma = false;
  for (int r = 0; r < replicas_; ++r) gamma |= trained_count(spec(r, linear.index, kX)) > 0;
  const bool together = gamma && !(linear.weight->frozen && linear.trained->frozen);
  return together && t.grads ? view(t.grads, p) : grad_of(t, p);
}

LinearTerms FormatTable::terms(const BertTensors& t, const Linear& linear) const {
  if (linear.is_identity()) return {};
  LinearTerms terms;
  terms.input = reader(t, linear);
  const bool w = any(linear.index, kW) || terms.input.slot.trained, b = any(linear.index, kB);
  terms.w = view(w ? t.quantized : t.values, *linear.weight);
  terms.bias = view(b ? t.quantized : t.values, *linear.bias);
  terms.dw = weight_grad(t, linear, *linear.weight), terms.dbias = grad_of(t, *linear.bias);
  if (any(linear.index, kY)) terms.output = slot(linear.index, kY);
  return terms;
}

std::vector<QuantizeWeights::Item> FormatTable::weight_items(const Bert& model, const BertTensors& t) const {
  std::vector<QuantizeWeights::Item> items;
  for (const Linear* linear : model.linears()) {
    const LinearTerms terms = this->terms(t, *linear);
    const auto add = [&](const Parameter& p, Operand operand, Role role, QuantSlot input) {
      items.push_back({.w = view(t.values, p),
                       .wq = view(t.quantized, p),
                       .slot = slot(linear->index, operand),
                       .role = role,
                       .input = input,
                       .dw = operand == kW ? weight_grad(t, *linear, p) : grad_of(t, p),
                       .dtrained = weight_grad(t, *linear, *linear->trained)});
    };
    const bool scaled = bool(terms.input.slot.trained);
    if (any(linear->index, kW) || scaled)
      add(*linear->weight, kW, Role::weight, scaled ? terms.input.slot : QuantSlot{});
    if (any(linear->index, kB)) add(*linear->bias, kB, Role::bias, {});
  }
  return items;
}

Tensor FormatTable::rows_of(const BertTensors& t, const EmbeddingTable& table) const {
  return view(any(table.index, kW) ? t.quantized : t.values, *table.weight);
}

std::vector<QuantizeWeights::Item> FormatTable::table_items(const Bert& model, const BertTensors& t,
                                                            const QuantizeWeights::Rows& words) const {
  std::vector<QuantizeWeights::Item> items;
  for (const EmbeddingTable& table : model.tables())
    if (any(table.index, kW))
      items.push_back({.w = view(t.values, *table.weight),
                       .wq = view(t.quantized, *table.weight),
                       .slot = slot(table.index, kW),
                       .role = Role::weight,
                       .input = {},
                       .dw = {},
                       .dtrained = {},
                       .only = table.weight == model.word && !words_together_ ? words : QuantizeWeights::Rows{}});
  return items;
}

std::vector<QuantizeWeights::Item> FormatTable::weight_grad_items(const Bert& model, const BertTensors& t) const {
  auto items = weight_items(model, t);
  std::erase_if(items, [](const QuantizeWeights::Item& item) { return !item.dw; });
  return items;
}

}  // namespace mpq
