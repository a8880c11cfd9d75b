// Which GPUs can run the kernels.
#pragma once
#include <string>

#include "base/error.h"
#include "base/text.h"

namespace mpq {

constexpr size_t kMostSharedBytes = size_t{114} << 10;  // of a block; attention's widest heads aside

struct GpuProperties {
  std::string name;
  int major, minor;     // compute capability
  size_t shared_bytes;  // that a block can ask for
};

inline void require_supported(const GpuProperties& gpu) {
  if (gpu.major < 8)
    throw UserError(fmt::format("{} has compute capability {}.{}", gpu.name, gpu.major, gpu.minor),
                    "mpq needs 8.0 (A100) or later; use --device cpu");
  if (gpu.shared_bytes < kMostSharedBytes)
    throw UserError(
        fmt::format("{} gives a block {} of shared memory", gpu.name, human_bytes(gpu.shared_bytes)),
        fmt::format("mpq's attention needs {} (A100, H100, H200); use --device cpu", human_bytes(kMostSharedBytes)));
}

}  // namespace mpq
