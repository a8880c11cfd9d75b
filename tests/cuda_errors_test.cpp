// What the CUDA backend makes of a GPU that will not do, and of a call that failed. Needs no GPU.
#include <gtest/gtest.h>

#include "cuda/requirements.h"
#ifdef MPQ_HAS_CUDA
#include <cuda_runtime_api.h>
#endif

namespace mpq {

#ifdef MPQ_HAS_CUDA
void check_cuda(cudaError_t status, const char* what);  // cuda/check.cu
#endif

namespace {

// What it says and its hint; nothing if the GPU will do.
std::string refusal(const GpuProperties& gpu) {
  try {
    require_supported(gpu);
    return {};
  } catch (const UserError& error) {
    return std::string(error.what()) + "; " + error.hint();
  }
}

TEST(CudaRequirements, NameWhatAGpuLacks) {
  EXPECT_EQ(refusal({"A100", 8, 0, 163 << 10}), "");
  EXPECT_EQ(refusal({"H200", 9, 0, 227 << 10}), "");
  EXPECT_EQ(refusal({"just enough", 8, 0, kMostSharedBytes}), "");
  const std::string turing = refusal({"Tesla T4", 7, 5, 64 << 10}), small = refusal({"A10", 8, 6, 99 << 10});
  for (const char* part : {"Tesla T4", "7.5", "8.0", "--device cpu"})
    EXPECT_NE(turing.find(part), std::string::npos) << turing;
  for (const char* part : {"A10", "99", "114", "shared memory", "--device cpu"})
    EXPECT_NE(small.find(part), std::string::npos) << small;
}

#ifdef MPQ_HAS_CUDA
std::string hint_of(cudaError_t status) {
  try {
    check_cuda(status, "a test");
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find(cudaGetErrorString(status)), std::string::npos) << error.what();
    return error.hint();
  }
  return "no user error";
}

TEST(CudaErrors, SayWhatToDo) {
  EXPECT_NO_THROW(check_cuda(cudaSuccess, "a test"));
  EXPECT_NE(hint_of(cudaErrorMemoryAllocation).find("--replicas"), std::string::npos);
  EXPECT_NE(hint_of(cudaErrorNoKernelImageForDevice).find("MPQ_CUDA_ARCH"), std::string::npos);
  for (const cudaError_t lost : {cudaErrorECCUncorrectable, cudaErrorDevicesUnavailable, cudaErrorLaunchTimeout,
                                 cudaErrorIllegalAddress, cudaErrorLaunchFailure, cudaErrorHardwareStackError})
    EXPECT_NE(hint_of(lost).find("run the same command again"), std::string::npos) << cudaGetErrorName(lost);
  EXPECT_THROW(check_cuda(cudaErrorInvalidValue, "a test"), InternalError) << "a programmer's error";
}
#endif

}  // namespace
}  // namespace mpq
