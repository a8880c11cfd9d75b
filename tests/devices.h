// One body for all devices: a DeviceTest runs once a device. One that this build or machine lacks is a visible skip, or
// a failure where MPQ_REQUIRE names it (MPQ_REQUIRE=cuda).
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/simd.h"
#include "tensor/device.h"

namespace mpq {

std::unique_ptr<Device> open_cpu(Simd simd);  // kernels/open.cpp

inline const std::vector<std::string> device_names = {"cpu/avx2", "cpu/avx512", "cuda"};
inline const std::vector<std::string> cpu_names = {"cpu/avx2", "cpu/avx512"};
// Two devices: a CPU or a GPU opened twice, or two GPUs.
inline const std::vector<std::string> pair_names = {"cpu/avx2", "cpu/avx512", "cuda", "cuda:0,1"};

// Null where there is no such device.
inline std::unique_ptr<Device> open_or_null(const std::string& name) {
  if (name.starts_with("cuda")) try {
      return open_device(name);
    } catch (const UserError&) {
      return nullptr;
    }
  const Simd simd = name == "cpu/avx2" ? Simd::avx2 : Simd::avx512;
  return has_simd(simd) ? open_cpu(simd) : nullptr;
}

// MPQ_REQUIRE=cuda asks for one GPU, MPQ_REQUIRE=cuda:0,1 for two.
inline bool is_required(const std::string& name) {
  const char* variable = std::getenv("MPQ_REQUIRE");
  const std::string required = variable ? variable : "";
  return name == required || name.starts_with(required + "/") || required.starts_with(name + ":");
}

class DeviceTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const bool two_gpus = GetParam() == "cuda:0,1";
    device_ = open_or_null(two_gpus ? "cuda:0" : GetParam());
    if (pair_) second_ = open_or_null(two_gpus ? "cuda:1" : GetParam());
    if (device_ && (second_ || !pair_)) return;
    if (is_required(GetParam())) FAIL() << GetParam() << " is required, and not here";
    GTEST_SKIP() << "no " << GetParam() << " here";
  }
  bool is_cpu() const { return GetParam().starts_with("cpu"); }

  std::unique_ptr<Device> device_, second_;
  bool pair_ = false;  // set by the constructor of a test that wants `second_` too
};

inline std::string device_test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name)
    if (c == '/' || c == ':' || c == ',') c = '_';
  return name;
}
#define MPQ_ON_EVERY_DEVICE(Suite) \
  INSTANTIATE_TEST_SUITE_P(Devices, Suite, testing::ValuesIn(device_names), device_test_name)
#define MPQ_ON_EVERY_PAIR(Suite) \
  INSTANTIATE_TEST_SUITE_P(Devices, Suite, testing::ValuesIn(pair_names), device_test_name)
// What only a CPU has to keep: that threads change nothing.
#define MPQ_ON_EVERY_CPU(Suite) INSTANTIATE_TEST_SUITE_P(Devices, Suite, testing::ValuesIn(cpu_names), device_test_name)

}  // namespace mpq
