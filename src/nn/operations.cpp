#include "nn/operations.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "nn/format_table.h"
#include "nn/model_formats.h"
#include "tensor/dry_ops.h"

namespace mpq {
namespace {

constexpr double kFloatBits = 32;

double float_bits(const Tensor& t) { return kFloatBits * static_cast<double>(t.shape.size()); }

double bits(const QuantSpec& spec, int64_t rows, int64_t cols) {
  return bits_per_value(spec, rows, cols) * static_cast<double>(rows * cols);
}

std::string without_last_part(const std::string& name) { return name.substr(0, name.rfind('.')); }

// Writes down what passes. Tensors are told apart by their addresses, which a measuring arena hands out once.
class Listener final : public DryOps {
 public:
  Listener(const Bert& model, const std::vector<LinearSpec>& formats, const Tensor& values)
      : model_(model), formats_(formats), layers_(model.config().layers) {
    for (const Parameter& p : model.parameters().all()) parameters_[view(values, p).data] = &p;
    for (const Linear* linear : model.linears()) linears_[view(values, *linear->weight).data] = linear;
  }

  const std::vector<Operation>& operations() const { return operations_; }

  void embed(const Embed& op) override {
    Operation o = begin("bert.embeddings", "embed", op.x, {});
    for (const Tensor& t : {op.word, op.position, op.type, op.gamma, op.beta}) own(o, t);
    for (const EmbeddingTable& table : model_.tables()) {
      const Shape& s = table.weight->shape;
      o.tables.push_back({table.name, spec_of(formats_, table).w});
      o.w_bits += bits(o.tables.back().format, s[0], s[1]);
    }
    o.w_bits += float_bits(op.gamma), o.b_bits = float_bits(op.beta);
    o.x_bits = 32 * static_cast<double>(op.x.rows());  // token numbers
    end(o, op.x, op.quantized);
  }

  void linear(std::span<const Linear1> problems) override {
    for (const Linear1& op : problems) {
      const Linear& linear = *linears_.at(op.w.data);
      Operation o = begin(linear.name, "linear", op.y, {op.x});
      own(o, op.w), own(o, op.bias);
      o.multiply_adds = o.rows * op.w.shape.size();
      o.format = formats_[linear.index];
      o.x_bits = bits(o.format.x, op.x.rows(), op.x.cols());
      o.w_bits = bits(o.format.w, op.w.rows(), op.w.cols());
      o.b_bits = bits(o.format.b, 1, op.bias.rows());
      end(o, op.y, op.quantized);
      if (op.adapter) adapter(op, linear.name);
      if (op.activation != Activation::none) activation(op, linear.name, op.y);
    }
  }

  // Without a product: the Linear is the identity.
  void activate(const Linear1& op) override {
    const std::string& before = operations_[made_by_.at(op.x.data)].name;
    const bool gelu = op.activation == Activation::gelu;
    activation(op, gelu ? before.substr(0, before.find(".attention.")) + ".intermediate.dense" : "bert.pooler.dense",
               op.x);
  }

  bool need_whole(const NeedWhole&) override { return false; }  // as good as never

  // The last layer may have two: of all rows, for formats that look over a sequence, and of the first ones.
  void attention(const Attention& op) override {
    const int layer = std::min(attentions_++, layers_ - 1);
    Operation o =
        begin(fmt::format("bert.encoder.layer.{}.attention.self", layer), "attention", op.context, {op.q, op.k, op.v});
    o.multiply_adds = 2 * op.q.rows() * op.k.shape.size();  // scores, then the weighted values
    o.x_bits = float_bits(op.q) + float_bits(op.k) + float_bits(op.v);
    end(o, op.context, op.quantized);
  }

  void residual_norm(const ResidualNorm& op) override {
    const std::string gamma = parameters_.at(op.gamma.data)->name;
    Operation o = begin(without_last_part(gamma), "norm", op.x, {op.y, op.residual});
    own(o, op.gamma), own(o, op.beta);
    o.x_bits = float_bits(op.y) + float_bits(op.residual);
    o.w_bits = float_bits(op.gamma), o.b_bits = float_bits(op.beta);
    end(o, op.x, op.quantized);
  }

  void select_first(const SelectFirst& op) override {
    Operation o = begin(operations_[made_by_.at(op.x.data)].name, "first row", op.y, {op.x});
    o.x_bits = float_bits(op.y);
    end(o, op.y, {});
    if (op.yq) made_by_[op.yq.data] = made_by_.at(op.y.data);
  }

  void quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged&) override {
    for (const QuantizedCopy& copy : copies) made_by_[copy.xq.data] = made_by_.at(x.data);
  }

 private:
  Operation begin(const std::string& name, const std::string& kind, const Tensor& result,
                  std::initializer_list<Tensor> inputs) const {
    Operation o{.name = name, .kind = kind, .rows = result.rows(), .cols = result.cols()};
    for (const Tensor& t : inputs)
      if (const int from = made_by_.at(t.data); std::find(o.inputs.begin(), o.inputs.end(), from) == o.inputs.end())
        o.inputs.push_back(from);
    return o;
  }
  void end(const Operation& o, const Tensor& result, const QuantizedCopies& copies) {
    made_by_[result.data] = static_cast<int>(operations_.size());
    operations_.push_back(o);
    quantize_copies(copies, result, {});
  }
  void own(Operation& o, const Tensor& parameter) {
    if (counted_.insert(parameter.data).second) o.parameters += parameter.shape.size();
  }
  // Two products of few columns, added to the Linear's.
  void adapter(const Linear1& op, const std::string& name) {
    Operation o = begin(name, "adapter", op.y, {op.adapter.x, op.y});
    o.parameters = op.adapter.low.cols() * (op.x.cols() + op.y.cols());
    o.multiply_adds = o.rows * o.parameters;
    o.x_bits = float_bits(op.adapter.x);
    o.w_bits = kFloatBits * static_cast<double>(o.parameters);
    end(o, op.y, op.quantized);
  }
  // Fused into the Linear, but an operation of the model.
  void activation(const Linear1& op, const std::string& name, const Tensor& input) {
    Operation o = begin(name, op.activation == Activation::gelu ? "gelu" : "tanh", op.y, {input});
    o.x_bits = float_bits(op.y);
    end(o, op.y, op.quantized);
  }

  const Bert& model_;
  const std::vector<LinearSpec>& formats_;
  const int layers_;
  int attentions_ = 0;
  std::map<const void*, const Parameter*> parameters_;
  std::map<const void*, const Linear*> linears_;
  std::map<const void*, int> made_by_;
  std::set<const void*> counted_;
  std::vector<Operation> operations_;
};

}  // namespace

std::vector<std::string> table_texts(const Operation& embeddings) {
  std::vector<std::string> texts;
  for (const auto& [name, format] : embeddings.tables)
    if (!is_none(format)) texts.push_back(fmt::format("{}={}", name.substr(name.rfind('.') + 1), to_text(format)));
  return texts;
}

std::vector<Operation> operations(const Bert& model, const std::vector<LinearSpec>& formats, int tokens) {
  Arena arena;
  const FormatTable table(model, {formats});
  const Tensor values = arena.tensor({model.parameters().size()});
  Listener listener(model, formats, values);
  Tape tape(listener, arena, 1, false);
  // Quantized weights take the places of their masters: what counts is whose they are.
  forward(tape, model, {.values = values, .quantized = values, .grads = {}, .dword = {}}, table,
          {.ragged = {nullptr, 1, tokens, tokens},
           .single_rows = {nullptr, 1, 1, 1},
           .tokens = nullptr,
           .segments = {},
           .labels = nullptr},
          {});
  return listener.operations();
}

}  // namespace mpq
