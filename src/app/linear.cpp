#include "app/linear.h"

#include <fmt/format.h>

#include <array>

#include "app/commands.h"
#include "app/options.h"
#include "autograd/ops.h"
#include "base/error.h"
#include "base/safetensors.h"
#include "quant/quantize.h"

namespace mpq {
namespace {

QuantShape quant_shape(const std::vector<int64_t>& dims) {
  QuantShape shape{static_cast<int>(dims.size())};
  for (int i = 0; i < shape.rank; ++i) shape.d[i] = dims[i];
  return shape;
}

// A case on its device: tensors as training has them, and the operations of training on them.
class LinearRun {
 public:
  LinearRun(Device& device, const LinearCase& c, const LinearSpec& spec) : device_(device), c_(c), spec_(spec) {
    check(trained_count(spec.x) <= 3, "{} trained values", trained_count(spec.x));
    arena_ = device.reserve(memory());
    trained_ = {0, 0, 0, c.gamma};
    initial_trained(spec.x, trained_.data());
    std::copy(c.means.begin(), c.means.end(), trained_.begin());
    trained_tensor_ = upload(trained_, {4});
    const std::array<int32_t, 2> starts = {0, static_cast<int32_t>(c.rows())};
    auto* device_starts = arena_.array<int32_t>(2);
    device.copy_in(device_starts, starts.data(), sizeof(starts));
    ragged_ = {device_starts, 1, c.rows(), static_cast<int32_t>(c.rows())};
  }

  LinearResult run() {
    LinearResult result;
    quantize_operands(result);
    forward_.ragged = ragged_;
    forward_.x = upload(result.xq, {c_.rows(), c_.inputs()});
    forward_.y = arena_.tensor({c_.rows(), c_.outputs});
    device_.ops().linear(std::span(&forward_, 1));
    result.y = download(forward_.y);
    auto y_shape = c_.x_shape;
    y_shape.back() = c_.outputs;
    quantize(spec_.y, Role::activation, quant_shape(y_shape), result.y.data(), result.y.data());
    if (!c_.grad_y.empty()) backward(result);
    return result;
  }

 private:
  size_t memory() const {
    const int64_t floats = 2 * c_.rows() * (c_.inputs() + c_.outputs) + 3 * c_.outputs * (c_.inputs() + 1);
    return static_cast<size_t>(floats) * sizeof(float) + (1 << 16);  // 16 tensors, each on a boundary of 64 bytes
  }

  Tensor upload(std::span<const float> values, Shape shape) {
    const Tensor t = arena_.tensor(shape);
    device_.copy_in(t.data, values.data(), values.size_bytes());
    return t;
  }
  QuantSlot slot(const QuantSpec& spec, Tensor trained = {}) {
    auto* copy = arena_.array<QuantSpec>(1);
    device_.copy_in(copy, &spec, sizeof(spec));
    QuantSlot slot{.specs = copy, .trained = trained};
    plan_for(slot, spec);
    return slot;
  }
  std::vector<float> download(const Tensor& t) {
    std::vector<float> values(t.shape.size());
    device_.copy_out(values.data(), t.data, values.size() * sizeof(float));
    return values;
  }

  bool trains() const { return trained_count(spec_.x) > 0; }

  void quantize_operands(LinearResult& result) {
    result.xq.resize(c_.x.size());
    quantize(spec_.x, Role::activation, quant_shape(c_.x_shape), c_.x.data(), result.xq.data(), trained_.data());
    const QuantSlot input = trains() ? slot(spec_.x, trained_tensor_) : QuantSlot{};
    items_.push_back({.w = upload(c_.weight, {c_.outputs, c_.inputs()}),
                      .wq = arena_.tensor({c_.outputs, c_.inputs()}),
                      .slot = slot(spec_.w),
                      .role = Role::weight,
                      .input = input});
    if (!c_.bias.empty())
      items_.push_back({.w = upload(c_.bias, {c_.outputs}),
                        .wq = arena_.tensor({c_.outputs}),
                        .slot = slot(spec_.b),
                        .role = Role::bias});
    device_.ops().quantize_weights({items_});
    forward_.w = items_[0].wq;
    result.wq = download(forward_.w);
    if (c_.bias.empty()) return;
    forward_.bias = items_[1].wq;
    result.bq = download(forward_.bias);
  }

  void backward(LinearResult& result) {
    Linear1Grad grad{.forward = forward_,
                     .dy = upload(c_.grad_y, {c_.rows(), c_.outputs}),
                     .dx = arena_.tensor({c_.rows(), c_.inputs()}),
                     .dw = arena_.tensor({c_.outputs, c_.inputs()})};
    if (!c_.bias.empty()) grad.dbias = arena_.tensor({c_.outputs});
    device_.ops().linear_grad(std::span(&grad, 1));
    result.grad_x = download(grad.dx);
    if (!c_.bias.empty()) result.grad_bias = download(grad.dbias);
    if (trains()) trained_grad(result, grad.dw);
    result.grad_weight = download(grad.dw);
  }

  // The gradients of means and gamma, and what they do to those of x and weight.
  void trained_grad(LinearResult& result, const Tensor& dw) {
    const int means = trained_count(spec_.x);
    result.grad_means.assign(means, 0.0f);
    quantize_grad(spec_.x, Role::activation, quant_shape(c_.x_shape), c_.x.data(), result.grad_x.data(),
                  result.grad_x.data(), trained_.data(), result.grad_means.data());
    const std::array<float, 4> zeros = {};
    items_[0].dw = dw;
    items_[0].dtrained = upload(zeros, {4});
    device_.ops().quantize_weights_grad({std::span(items_).first(1)});
    result.grad_gamma = {download(items_[0].dtrained)[3]};
  }

  Device& device_;
  const LinearCase& c_;
  const LinearSpec& spec_;
  Arena arena_;
  Ragged ragged_;
  std::array<float, 4> trained_;  // means, then gamma at [3]
  Tensor trained_tensor_;
  std::vector<QuantizeWeights::Item> items_;  // weight, then bias
  Linear1 forward_;
};

// The tensors of a file, each with the shape that the others imply.
class CaseReader {
 public:
  explicit CaseReader(const std::string& path) : path_(path), file_(path) {}

  LinearCase read(const LinearSpec& spec) {
    LinearCase c;
    c.x_shape = file_.at("x").shape;
    if (c.x_shape.size() != 2 && c.x_shape.size() != 3) fail("x", "[rows, inputs] or [batch, rows, inputs]");
    if (file_.at("x").count == 0) fail("x", "no empty dimension");
    c.x = read("x", c.x_shape);
    const auto& weight = file_.at("weight").shape;
    if (weight.size() != 2 || weight[1] != c.inputs()) fail("weight", fmt::format("[outputs, {}]", c.inputs()));
    c.outputs = weight[0];
    if (c.outputs == 0) fail("weight", "no empty dimension");
    if (c.rows() > INT32_MAX) fail("x", "at most 2^31-1 rows");
    c.weight = read("weight", weight);
    c.bias = read_if_there("bias", {c.outputs});
    auto y_shape = c.x_shape;
    y_shape.back() = c.outputs;
    c.grad_y = read_if_there("grad_y", y_shape);
    c.means = read_if_there("means", {trained_count(spec.x)});
    if (const auto gamma = read_if_there("gamma", {1}); !gamma.empty()) c.gamma = gamma[0];
    return c;
  }

 private:
  std::vector<float> read(const char* name, const std::vector<int64_t>& shape) const {
    const auto& found = file_.at(name).shape;
    const bool scalar = found.empty() && shape == std::vector<int64_t>{1};
    if (found != shape && !scalar) fail(name, fmt::format("[{}]", fmt::join(shape, ", ")));
    return file_.read_f32(name);
  }
  std::vector<float> read_if_there(const char* name, const std::vector<int64_t>& shape) const {
    return file_.contains(name) ? read(name, shape) : std::vector<float>{};
  }
  [[noreturn]] void fail(const char* name, const std::string& expected) const {
    throw UserError(fmt::format("{}: tensor {} is [{}]", path_, name, fmt::join(file_.at(name).shape, ", ")),
                    "expected: " + expected);
  }

  std::string path_;
  SafeTensors file_;
};

void write_result(const std::string& path, const LinearCase& c, const LinearResult& r) {
  std::vector<SafeTensor> tensors;
  const auto add = [&](const char* name, std::vector<int64_t> shape, const std::vector<float>& values) {
    if (!values.empty()) tensors.push_back({name, "F32", std::move(shape), values.data()});
  };
  auto y_shape = c.x_shape;
  y_shape.back() = c.outputs;
  add("y", y_shape, r.y);
  add("grad_x", c.x_shape, r.grad_x);
  add("grad_weight", {c.outputs, c.inputs()}, r.grad_weight);
  add("grad_bias", {c.outputs}, r.grad_bias);
  add("grad_means", {static_cast<int64_t>(r.grad_means.size())}, r.grad_means);
  add("grad_gamma", {1}, r.grad_gamma);
  write_safetensors(path, tensors);
}

struct Options {
  std::string x, w, b, y = "none", in, out;
  MachineArgs machine;
};

}  // namespace

LinearResult run_linear_case(Device& device, const LinearCase& c, const LinearSpec& spec) {
  return LinearRun(device, c, spec).run();
}

int run_linear(const Args& args) {
  Options options;
  CommandLine line(
      "linear",
      "mpq linear --x FORMAT --w FORMAT --b FORMAT [--y FORMAT] --in CASE.safetensors --out "
      "OUT.safetensors\n\nOne quantized Linear, forward and backward. CASE holds x (2-D or 3-D), weight, and "
      "where wanted\nbias, grad_y, means and gamma; OUT gets y and, with grad_y, grad_x, grad_weight, "
      "grad_bias,\ngrad_means and grad_gamma. mpq formats lists the formats.\n\nExample: mpq linear --x "
      "\"integer(width=8,frac=4)\" --w \"integer(width=8,frac=6)\" --b \"integer(width=8,frac=6)\"\n"
      "         --in case.safetensors --out out.safetensors");
  line.option("x", options.x, "FORMAT", "of the input");
  line.option("w", options.w, "FORMAT", "of the weight");
  line.option("b", options.b, "FORMAT", "of the bias");
  line.option("y", options.y, "FORMAT", "of the output");
  line.option("in", options.in, "FILE", "safetensors file with the operands");
  line.option("out", options.out, "FILE", "safetensors file to write");
  options.machine.add_to(line);
  if (!line.parse(args)) return 0;
  line.require({"x", "w", "b", "in", "out"});
  options.machine.apply();
  const LinearSpec spec{parse_format(options.x), parse_format(options.w), parse_format(options.b),
                        parse_format(options.y)};
  line.announce();
  const LinearCase c = CaseReader(options.in).read(spec);
  const LinearResult result = run_linear_case(*options.machine.open(), c, spec);
  write_result(options.out, c, result);
  if (line.json())
    print_json({{"out", options.out}, {"rows", c.rows()}, {"inputs", c.inputs()}, {"outputs", c.outputs}});
  return 0;
}

}  // namespace mpq
