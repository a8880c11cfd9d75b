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

// Null where there is no such device.
inline std::unique_ptr<Device> open_or_null(const std::string& name) {
  if (name == "cuda") try {
      return open_device(name);
    } catch (const UserError&) {
      return nullptr;
    }
  const Simd simd = name == "cpu/avx2" ? Simd::avx2 : Simd::avx512;
  return has_simd(simd) ? open_cpu(simd) : nullptr;
}

class DeviceTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    device_ = open_or_null(GetParam());
    if (device_) return;
    const char* required = std::getenv("MPQ_REQUIRE");
    if (required && *required && GetParam().starts_with(required)) FAIL() << GetParam() << " is required, and not here";
    GTEST_SKIP() << "no " << GetParam() << " here";
  }
  bool is_cpu() const { return GetParam().starts_with("cpu"); }

  std::unique_ptr<Device> device_;
};

inline std::string device_test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name)
    if (c == '/') c = '_';
  return name;
}
#define MPQ_ON_EVERY_DEVICE(Suite) \
  INSTANTIATE_TEST_SUITE_P(Devices, Suite, testing::ValuesIn(device_names), device_test_name)
// What only a CPU has to keep: that threads change nothing.
#define MPQ_ON_EVERY_CPU(Suite) INSTANTIATE_TEST_SUITE_P(Devices, Suite, testing::ValuesIn(cpu_names), device_test_name)

}  // namespace mpq
