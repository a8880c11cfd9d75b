// One golden case of a quantizer: {"id", "format", "role"} with the tensors ID.x and ID.y.
#pragma once
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/safetensors.h"
#include "quant/quantize.h"

namespace mpq::reference {

inline Role role_named(const std::string& name) {
  if (name == "activation") return Role::activation;
  return name == "bias" ? Role::bias : Role::weight;
}

inline QuantShape shape_of(const SafeTensors::Entry& entry) {
  const int rank = static_cast<int>(entry.shape.size());
  if (rank < 1 || rank > 3) throw UserError(fmt::format("{} has {} dimensions, not 1 to 3", entry.name, rank));
  QuantShape shape{rank};
  for (int i = 0; i < rank; ++i) shape.d[i] = entry.shape[i];
  return shape;
}

// NaN equals NaN; the sign of zero counts, but for integer width 1 (there it is a detail of MASE's backend).
inline bool same(float a, float b, bool zeros_equal = false) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (zeros_equal && a == b);
}

// Storage of the whole tensor.
inline double bits_of(const QuantSpec& spec, const QuantShape& shape) {
  const int64_t cols = shape.d[shape.rank - 1], rows = cols == 0 ? 0 : shape.size() / cols;
  return std::round(bits_per_value(spec, rows, cols) * static_cast<double>(rows * cols) * 1024) / 1024;
}

// The first value that differs, or nothing.
inline std::string difference(const SafeTensors& tensors, const nlohmann::json& entry, Simd isa) {
  const std::string id = entry.at("id"), format = entry.at("format");
  const QuantSpec spec = parse_format(format);
  const bool zeros_equal = spec.format == Format::integer && spec.integer.width == 1;
  const std::vector<float> x = tensors.read_f32(id + ".x"), expected = tensors.read_f32(id + ".y");
  const QuantShape shape = shape_of(tensors.at(id + ".x"));
  if (entry.contains("bits") && bits_of(spec, shape) != entry.at("bits").get<double>())
    return fmt::format("{} {}: {} bits, not {}", id, format, bits_of(spec, shape), entry.at("bits").dump());
  if (x.size() != expected.size()) return fmt::format("{}: x and y differ in size", id);
  std::vector<float> y(x.size());
  quantize(spec, role_named(entry.at("role")), shape, x.data(), y.data(), nullptr, isa);
  for (size_t i = 0; i < y.size(); ++i)
    if (!same(y[i], expected[i], zeros_equal))
      return fmt::format("{} {} [{}] on {}: {:a} becomes {:a}, expected {:a}", id, format, i, to_text(isa), x[i], y[i],
                         expected[i]);
  return {};
}

}  // namespace mpq::reference
