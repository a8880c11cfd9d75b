#include <algorithm>

#include "base/simd.h"
#include "base/text.h"
#include "tensor/cublaslt.h"
#include "tensor/device.h"

namespace mpq {

std::unique_ptr<Device> open_cpu(Simd simd);  // kernels/open.cpp
#ifdef MPQ_HAS_CUDA
std::unique_ptr<Device> open_cuda(const std::string& name, Precision precision);  // cuda/open.cu
#else
std::string describe_cublaslt() { return "no cuBLASLt (built without CUDA)"; }
#endif

Precision parse_precision(const std::string& text) {
  for (const Precision p : {Precision::fp32, Precision::tf32, Precision::bf16})
    if (text == to_text(p)) return p;
  throw UserError(fmt::format("--precision {}: no such precision", text), "allowed: fp32, tf32, bf16");
}
std::string to_text(Precision precision) {
  return precision == Precision::fp32 ? "fp32" : precision == Precision::tf32 ? "tf32" : "bf16";
}

namespace {

// Of several devices: "cuda:0,1" -> cuda:0 and cuda:1.
std::vector<std::string> gpu_names(const std::string& list) {
  constexpr std::string_view prefix = "cuda:";
  std::vector<std::string> names;
  for (const std::string_view item : split(list, ',')) {
    const bool prefixed = item.starts_with(prefix);
    const auto number = parse_int(prefixed ? item.substr(prefix.size()) : item);
    if (!number || *number < 0 || (names.empty() && !prefixed))
      throw UserError(fmt::format("--device {}: '{}' cannot be one of several devices", list, item),
                      "several devices are GPUs: cuda:0,1 or cuda:0,cuda:1");
    names.push_back(fmt::format("{}{}", prefix, *number));
    if (std::find(names.begin(), names.end() - 1, names.back()) != names.end() - 1)
      throw UserError(fmt::format("--device {}: {} is named twice", list, names.back()), "name every GPU once");
  }
  return names;
}

bool is_list(const std::string& name) { return name.find(',') != std::string::npos; }

}  // namespace

Devices open_devices(const std::string& names, Precision precision) {
  Devices devices;
  for (const std::string& name : is_list(names) ? gpu_names(names) : std::vector{names})
    devices.push_back(open_device(name, precision));
  return devices;
}

std::unique_ptr<Device> open_device(const std::string& name, Precision precision) {
  if (is_list(name))
    throw UserError(fmt::format("--device {}: this command computes on one device", name),
                    fmt::format("allowed here: {}", fmt::join(gpu_names(name), ", ")));
  if (name == "cpu") {
    if (precision != Precision::fp32)
      throw UserError(fmt::format("--precision {}: the CPU computes in fp32", to_text(precision)),
                      "allowed with --device cpu: fp32");
    return open_cpu(simd());
  }
  if (name == "cuda" || name.starts_with("cuda:")) {
#ifdef MPQ_HAS_CUDA
    return open_cuda(name, precision);
#else
    throw UserError(fmt::format("--device {}: this mpq was built without CUDA", name), "use --device cpu");
#endif
  }
  throw UserError(fmt::format("--device {}: no such device", name), "allowed: cpu, cuda, cuda:0, cuda:1 ...");
}

}  // namespace mpq
