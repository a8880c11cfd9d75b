// Quantizers bit for bit: on every instruction set that this machine has, or through the device's operations.
#include "reference/device_quantizer.h"
#include "reference/reference.h"

namespace mpq::reference {
namespace {

std::string difference_on_cpu(const QuantizerCase& c) {
  for (Simd isa : {Simd::avx2, Simd::avx512}) {
    if (!has_simd(isa)) continue;
    if (auto text = difference(c, isa); !text.empty()) return text;
  }
  return {};
}

Result check(const Setting& setting, const std::string& name) {
  Result result{.group = name};
  const auto list = setting.folder / "golden" / (name + ".json");
  if (!std::filesystem::exists(list)) return result;
  result.found = true;
  const SafeTensors tensors(setting.folder / "golden" / (name + ".safetensors"));
  std::optional<DeviceQuantizer> on_device;
  if (!setting.on_cpu()) on_device.emplace(setting.device);
  for (const auto& entry : nlohmann::json::parse(read_file(list))) {
    std::string text;
    try {
      const QuantizerCase c(tensors, entry);
      if (on_device && !DeviceQuantizer::takes(c)) continue;
      text = on_device ? on_device->difference(c) : difference_on_cpu(c);
    } catch (const UserError& error) {
      text = fmt::format("{}: {}", entry.dump(), error.what());
    }
    ++result.cases;
    if (!text.empty()) result.mismatch(text);
  }
  return result;
}

}  // namespace

Result check_quantizers(const Setting& setting) { return check(setting, "quantizers"); }
Result check_modern(const Setting& setting) { return check(setting, "modern"); }

}  // namespace mpq::reference
