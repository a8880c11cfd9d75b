// Quantizers bit for bit: NaN equals NaN, the sign of zero counts (but for integer width 1, a corner of the backend).
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/safetensors.h"
#include "quant/quantize.h"
#include "reference/reference.h"

namespace mpq::reference {
namespace {

Role role_named(const std::string& name) {
  return name == "activation" ? Role::activation : name == "bias" ? Role::bias : Role::weight;
}

QuantShape shape_of(const SafeTensors::Entry& entry) {
  const int rank = static_cast<int>(entry.shape.size());
  if (rank < 1 || rank > 3) throw UserError(fmt::format("{} has {} dimensions, not 1 to 3", entry.name, rank));
  QuantShape shape{rank};
  for (int i = 0; i < rank; ++i) shape.d[i] = entry.shape[i];
  return shape;
}

bool same(float a, float b, bool zeros_equal) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (zeros_equal && a == b);
}

// What differs, or nothing.
std::string difference(const SafeTensors& tensors, const nlohmann::json& entry, Simd isa) {
  const std::string id = entry.at("id"), format = entry.at("format");
  const QuantSpec spec = parse_format(format);
  const bool zeros_equal = spec.format == Format::integer && spec.integer.width == 1;
  const std::vector<float> x = tensors.read_f32(id + ".x"), expected = tensors.read_f32(id + ".y");
  if (x.size() != expected.size()) return fmt::format("{}: x and y differ in size", id);
  std::vector<float> y(x.size());
  quantize(spec, role_named(entry.at("role")), shape_of(tensors.at(id + ".x")), x.data(), y.data(), nullptr, isa);
  for (size_t i = 0; i < y.size(); ++i)
    if (!same(y[i], expected[i], zeros_equal))
      return fmt::format("{} {} [{}] on {}: {:a} becomes {:a}, expected {:a}", id, format, i, to_text(isa), x[i], y[i],
                         expected[i]);
  return {};
}

std::string difference(const SafeTensors& tensors, const nlohmann::json& entry) {
  for (Simd isa : {Simd::avx2, Simd::avx512}) {
    if (!has_simd(isa)) continue;
    if (auto text = difference(tensors, entry, isa); !text.empty()) return text;
  }
  return {};
}

}  // namespace

Result check_quantizers(const std::filesystem::path& folder) {
  Result result{.group = "quantizers"};
  const auto list = folder / "golden/quantizers.json";
  if (!std::filesystem::exists(list)) return result;
  result.found = true;
  const SafeTensors tensors(folder / "golden/quantizers.safetensors");
  for (const auto& entry : nlohmann::json::parse(read_file(list))) {
    ++result.cases;
    std::string text;
    try {
      text = difference(tensors, entry);
    } catch (const UserError& error) {
      text = fmt::format("{}: {}", entry.dump(), error.what());
    }
    if (!text.empty()) result.mismatch(text);
  }
  return result;
}

}  // namespace mpq::reference
