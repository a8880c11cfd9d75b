#include "base/simd.h"
#include "base/text.h"
#include "tensor/device.h"

namespace mpq {

std::unique_ptr<Device> open_cpu(Simd simd);  // kernels/open.cpp
#ifdef MPQ_HAS_CUDA
std::unique_ptr<Device> open_cuda(const std::string& name, Precision precision);  // cuda/open.cu
#endif

Precision parse_precision(const std::string& text) {
  for (const Precision p : {Precision::fp32, Precision::tf32, Precision::bf16})
    if (text == to_text(p)) return p;
  throw UserError(fmt::format("--precision {}: no such precision", text), "allowed: fp32, tf32, bf16");
}
std::string to_text(Precision precision) {
  return precision == Precision::fp32 ? "fp32" : precision == Precision::tf32 ? "tf32" : "bf16";
}

std::unique_ptr<Device> open_device(const std::string& name, Precision precision) {
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
