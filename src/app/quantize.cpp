// A safetensors file in, the same file with every float tensor quantized out.
#include <fmt/format.h>

#include <cmath>
#include <optional>

#include "app/commands.h"
#include "app/table.h"
#include "base/error.h"
#include "base/parallel.h"
#include "base/safetensors.h"
#include "quant/fit.h"
#include "quant/quantize.h"

namespace mpq {
namespace {

struct Options {
  std::string format, role = "weight", calibrate = "mse", in, out;
};

struct Quantized {
  const SafeTensors::Entry* entry;
  QuantSpec spec;                // with the scale that was chosen for it, where it was open
  std::vector<float> values;     // empty: not a float tensor, copied
  double signal = 0, noise = 0;  // sums of squares
};

Role role_named(const std::string& name) {
  return name == "activation" ? Role::activation : name == "bias" ? Role::bias : Role::weight;
}

// Elementwise formats see any tensor as a flat one; the others need one of MASE's shapes.
QuantShape shape_of(const SafeTensors::Entry& entry, Reach reach) {
  if (reach == Reach::element) return {1, {entry.count, 1, 1}};
  if (entry.shape.empty() || entry.shape.size() > 3)
    throw UserError(fmt::format("a {}-D tensor cannot be cut into tiles", entry.shape.size()),
                    "this format takes 1-D, 2-D and 3-D tensors");
  QuantShape shape{static_cast<int>(entry.shape.size())};
  for (int i = 0; i < shape.rank; ++i) shape.d[i] = entry.shape[i];
  return shape;
}

// Zeros say nothing of a scale, and neither does what is not finite: it takes the others'.
QuantSpec fit_to(const std::vector<float>& x, const QuantSpec& spec, FitRule rule) {
  std::vector<float> finite;
  std::copy_if(x.begin(), x.end(), std::back_inserter(finite), [](float v) { return std::isfinite(v); });
  return fit(spec, finite, rule);
}

Quantized quantize_tensor(const SafeTensors& file, const SafeTensors::Entry& entry, const OpenFormat& format,
                          FitRule rule, Role role) {
  Quantized result{&entry, format.spec};
  if (!entry.is_float()) return result;
  const std::vector<float> x = file.read_f32(entry.name);
  if (format.open) result.spec = fit_to(x, format.spec, rule);
  const QuantSpec& spec = result.spec;
  result.values.resize(x.size());
  try {
    quantize(spec, role, shape_of(entry, reach(spec, role)), x.data(), result.values.data());
  } catch (const UserError& error) {
    throw UserError(fmt::format("tensor \"{}\": {}", entry.name, error.what()), error.hint());
  }
  for (size_t i = 0; i < x.size(); ++i) {
    const double error = static_cast<double>(x[i]) - result.values[i];
    result.signal += static_cast<double>(x[i]) * x[i];
    result.noise += error * error;
  }
  return result;
}

void write(const std::string& path, const std::vector<Quantized>& tensors, const Metadata& metadata) {
  std::vector<SafeTensor> out;
  for (const Quantized& t : tensors) {
    const bool is_float = t.entry->is_float();
    out.push_back({t.entry->name, is_float ? "F32" : t.entry->dtype, t.entry->shape,
                   is_float ? static_cast<const void*>(t.values.data()) : t.entry->data.data()});
  }
  write_safetensors(path, out, metadata);
}

// 10 log10(signal / noise); nothing if there is no noise, or no signal, or NaN in either.
std::optional<double> sqnr_db(double signal, double noise) {
  const double ratio = 10 * std::log10(signal / noise);
  if (!std::isfinite(ratio)) return {};
  return ratio;
}

std::string sqnr_text(double signal, double noise) {
  if (const auto db = sqnr_db(signal, noise)) return fmt::format("{:.2f}", *db);
  return noise == 0 ? "exact" : "-";
}

void report(const CommandLine& line, const Options& options, const std::vector<Quantized>& tensors) {
  Table table{{"tensor", "shape", "format", "SQNR dB"}, {}};
  double signal = 0, noise = 0;
  const auto json_sqnr = [](double s, double n) {
    const auto db = sqnr_db(s, n);
    return db ? nlohmann::ordered_json(*db) : nlohmann::ordered_json();
  };
  int64_t count = 0;
  for (const Quantized& t : tensors) {
    if (!t.entry->is_float()) continue;
    ++count;
    signal += t.signal, noise += t.noise;
    table.add({t.entry->name, fmt::format("{}", fmt::join(t.entry->shape, "x")), to_text(t.spec),
               sqnr_text(t.signal, t.noise)});
    if (line.json())
      print_json({{"tensor", t.entry->name},
                  {"shape", t.entry->shape},
                  {"format", to_text(t.spec)},
                  {"sqnr_db", json_sqnr(t.signal, t.noise)}});
  }
  table.add({"all", fmt::format("{} tensors", count), "", sqnr_text(signal, noise)});
  if (line.json())
    print_json({{"out", options.out}, {"tensors", count}, {"sqnr_db", json_sqnr(signal, noise)}});
  else
    fmt::print("{}", to_text(table));
}

}  // namespace

int run_quantize(const Args& args) {
  Options options;
  CommandLine line(
      "quantize",
      "mpq quantize --format FORMAT --in A.safetensors --out B.safetensors\n\nQuantizes every float tensor of "
      "a file and says how much signal is left over the noise (SQNR);\nother tensors are copied. mpq formats "
      "lists the formats.\n\nExample: mpq quantize --format \"block_fp(width=7,exponent=8,block=1x16)\" "
      "--in model.safetensors --out q.safetensors");
  line.option("format", options.format, "FORMAT", "what every tensor becomes");
  line.choice("calibrate", options.calibrate, {"mse", "max"},
              "how a scale `auto` (frac=auto) is chosen for each tensor: the least squared error, or the range that "
              "holds every value");
  line.choice("role", options.role, {"weight", "activation", "bias"}, "how tiles lie over a tensor");
  line.option("in", options.in, "FILE", "safetensors file to read");
  line.option("out", options.out, "FILE", "safetensors file to write");
  if (!line.parse(args)) return 0;
  line.require({"format", "in", "out"});
  const OpenFormat format = parse_open_format(options.format);
  const FitRule rule = parse_fit_rule(options.calibrate);
  const Role role = role_named(options.role);
  line.announce();

  const SafeTensors file(options.in);
  std::vector<Quantized> tensors(file.entries().size());
  parallel_for(static_cast<int64_t>(tensors.size()),
               [&](int64_t i) { tensors[i] = quantize_tensor(file, file.entries()[i], format, rule, role); });
  write(options.out, tensors, file.metadata());
  report(line, options, tensors);
  return 0;
}

}  // namespace mpq
