// Quantizers bit for bit, on every instruction set that this machine has.
#include "reference/quantizer_case.h"
#include "reference/reference.h"

namespace mpq::reference {

static std::string difference(const SafeTensors& tensors, const nlohmann::json& entry) {
  for (Simd isa : {Simd::avx2, Simd::avx512}) {
    if (!has_simd(isa)) continue;
    if (auto text = difference(tensors, entry, isa); !text.empty()) return text;
  }
  return {};
}

static Result check(const std::filesystem::path& folder, const std::string& name) {
  Result result{.group = name};
  const auto list = folder / "golden" / (name + ".json");
  if (!std::filesystem::exists(list)) return result;
  result.found = true;
  const SafeTensors tensors(folder / "golden" / (name + ".safetensors"));
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

Result check_quantizers(const std::filesystem::path& folder) { return check(folder, "quantizers"); }
Result check_modern(const std::filesystem::path& folder) { return check(folder, "modern"); }

}  // namespace mpq::reference
