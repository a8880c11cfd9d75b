// Every device, a GPU in bf16: with cuBLASLt, if it is there, and without.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <optional>
#include <random>

#include "tensor/cublaslt.h"
#include "tests/devices.h"
#include "tests/naive/ops.h"
#include "tests/rig.h"

namespace mpq {

class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    ::setenv(name, value, 1);
  }
  ~Environment() { old_ ? ::setenv(name_, old_->c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

class Bf16Test : public DeviceTest {
 protected:
  void on_each(const std::function<void(Device&)>& body) {
    if (is_cpu()) return body(*device_);
    {
      SCOPED_TRACE("as it is: " + describe_cublaslt());
      body(*open_device(GetParam(), Precision::bf16));
    }
    SCOPED_TRACE("MPQ_CUBLASLT=off");
    const Environment off("MPQ_CUBLASLT", "off");
    const auto device = open_device(GetParam(), Precision::bf16);
    body(*device);
    EXPECT_NE(device->describe().find("no cuBLASLt (MPQ_CUBLASLT=off)"), std::string::npos) << device->describe();
  }
  // As tests/precision_test.cpp; the CPU computes in fp32.
  double share() const { return is_cpu() ? 0x1p-16 : 0x1p-6; }
};

// Uniform, of variance `scale` squared.
inline Floats random_floats(int64_t count, unsigned seed, float scale = 1) {
  std::mt19937 engine(seed);
  Floats values(count);
  const float width = scale * std::sqrt(12.0f) * 0x1p-32f;
  for (float& v : values) v = (static_cast<float>(engine()) - 0x1p31f) * width;
  return values;
}

inline void expect_near(const Floats& a, const naive::Array<double>& exact, double share) {
  ASSERT_EQ(a.size(), exact.size());
  double largest = 0, worst = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    largest = std::max(largest, std::abs(exact[i]));
    if (const double d = std::abs(a[i] - exact[i]); !(d <= worst)) worst = d;
  }
  EXPECT_LE(worst, share * largest);
}

}  // namespace mpq
