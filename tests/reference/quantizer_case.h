// One golden case of a quantizer: {"id", "format", "role"} with the tensors ID.x and ID.y. Every way to quantize takes
// x and must give y.
#pragma once
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/safetensors.h"
#include "quant/quantize.h"

namespace mpq::reference {

// NaN equals NaN; the sign of zero counts, but for integer width 1 (there it is a detail of MASE's backend).
inline bool same(float a, float b, bool zeros_equal = false) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (zeros_equal && a == b);
}

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

struct QuantizerCase {
  std::string id, format;
  QuantSpec spec;
  Role role;
  QuantShape shape;
  std::vector<float> x, expected;

  QuantizerCase(const SafeTensors& tensors, const nlohmann::json& entry)
      : id(entry.at("id")),
        format(entry.at("format")),
        spec(parse_format(format)),
        role(role_named(entry.at("role"))),
        shape(shape_of(tensors.at(id + ".x"))),
        x(tensors.read_f32(id + ".x")),
        expected(tensors.read_f32(id + ".y")) {
    if (x.size() != expected.size()) throw UserError(fmt::format("{}: x and y differ in size", id));
    if (entry.contains("bits") && bits() != entry.at("bits").get<double>())
      throw UserError(fmt::format("{} {}: {} bits, not {}", id, format, bits(), entry.at("bits").dump()));
  }

  // Storage of the whole tensor.
  double bits() const {
    const int64_t cols = shape.d[shape.rank - 1], rows = cols == 0 ? 0 : shape.size() / cols;
    return std::round(bits_per_value(spec, rows, cols) * static_cast<double>(rows * cols) * 1024) / 1024;
  }
  // The first value of y that differs from the expected one, or nothing.
  std::string difference(const std::vector<float>& y, std::string_view where) const {
    const bool zeros_equal = spec.format == Format::integer && spec.integer.width == 1;
    for (size_t i = 0; i < y.size(); ++i)
      if (!same(y[i], expected[i], zeros_equal))
        return fmt::format("{} {} [{}] on {}: {:a} becomes {:a}, expected {:a}", id, format, i, where, x[i], y[i],
                           expected[i]);
    return {};
  }
};

inline std::string difference(const QuantizerCase& c, Simd isa) {
  std::vector<float> y(c.x.size());
  quantize(c.spec, c.role, c.shape, c.x.data(), y.data(), nullptr, isa);
  return c.difference(y, to_text(isa));
}

}  // namespace mpq::reference
