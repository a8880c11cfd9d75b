#include "base/error.h"
#include "cuda/common.cuh"

namespace mpq {

void check_cuda(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const std::string text = fmt::format("CUDA, {}: {}", what, cudaGetErrorString(status));
  switch (status) {
    case cudaErrorMemoryAllocation:
      throw UserError(text,
                      "fewer replicas (--replicas), a smaller --batch or another --device; what was finished is kept");
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      throw UserError(text,
                      "this build has code for other GPUs: rebuild with -DMPQ_CUDA_ARCH=native, or use --device cpu");
    case cudaErrorDevicesUnavailable:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorSystemNotReady:
    case cudaErrorDeviceUninitialized:
    case cudaErrorLaunchTimeout:
      throw UserError(text, "the GPU is lost or busy; what was finished is kept: run the same command again");
    // Every later call reports these too: nothing more can be had from the GPU in this process.
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidPc:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorLaunchFailure:
      throw UserError(
          text,
          "the GPU stopped inside a kernel: a fault of the card, of its driver or of mpq; what was finished is "
          "kept: run the same command again, and report it if that stops too");
    default:
      throw InternalError(text);
  }
}

}  // namespace mpq
