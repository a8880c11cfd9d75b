#include "base/simd.h"
#include "base/text.h"
#include "tensor/device.h"

namespace mpq {

std::unique_ptr<Device> open_cpu(Simd simd);  // kernels/open.cpp
#ifdef MPQ_HAS_CUDA
std::unique_ptr<Device> open_cuda(const std::string& name);  // cuda/open.cu
#endif

std::unique_ptr<Device> open_device(const std::string& name) {
  if (name == "cpu") return open_cpu(simd());
  if (name == "cuda" || name.starts_with("cuda:")) {
#ifdef MPQ_HAS_CUDA
    return open_cuda(name);
#else
    throw UserError(fmt::format("--device {}: this mpq was built without CUDA", name), "use --device cpu");
#endif
  }
  throw UserError(fmt::format("--device {}: no such device", name), "allowed: cpu, cuda, cuda:0, cuda:1 ...");
}

}  // namespace mpq
