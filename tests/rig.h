// Device memory for tests: tensors between guards that are signalling NaNs, each with another payload. Reading a guard
// or what nobody wrote poisons a result; writing one, even with a NaN made from it, changes its bits.
#pragma once
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <vector>

#include "tensor/device.h"

namespace mpq {

using Floats = std::vector<float>;

inline bool same_bits(const Floats& a, const Floats& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

class Rig {
 public:
  explicit Rig(Device& device) : device_(device), arena_(device.reserve(kBytes)) {}

  Ops& ops() { return device_.ops(); }
  void reset() { arena_.reset(), blocks_.clear(), guard_ = 0; }

  // Holds NaN until somebody writes.
  Tensor empty(Shape shape, int replicas = 1) { return tensor(shape, std::vector<Floats>(replicas)); }
  // One array a replica.
  Tensor tensor(Shape shape, const std::vector<Floats>& values) {
    const int replicas = static_cast<int>(values.size());
    const int64_t size = shape.size(), stride = (size + 15) / 16 * 16 + kGuard;
    Block block{arena_.array<float>(kGuard + replicas * stride), Floats(kGuard + replicas * stride)};
    for (float& f : block.expected) f = next_guard();
    Floats first = block.expected;
    for (int r = 0; r < replicas; ++r)
      std::copy(values[r].begin(), values[r].end(), first.begin() + kGuard + r * stride);
    device_.copy_in(block.data, first.data(), first.size() * sizeof(float));
    block.size = size, block.stride = stride;
    blocks_.push_back(block);
    return {block.data + kGuard, shape, DType::f32, replicas, stride};
  }
  template <class T>
  const T* array(const std::vector<T>& values) {
    T* data = arena_.array<T>(static_cast<int64_t>(values.size()));
    device_.copy_in(data, values.data(), values.size() * sizeof(T));
    return data;
  }

  Floats read(const Tensor& t, int replica = 0) {
    Floats values(t.shape.size());
    device_.copy_out(values.data(), t.f32(replica), values.size() * sizeof(float));
    return values;
  }

  void expect_guards_intact() {
    for (const Block& b : blocks_) {
      Floats now(b.expected.size());
      device_.copy_out(now.data(), b.data, now.size() * sizeof(float));
      for (int64_t i = 0; i < static_cast<int64_t>(now.size()); ++i) {
        const bool guard = i < kGuard || (i - kGuard) % b.stride >= b.size;
        if (!guard) continue;
        ASSERT_EQ(std::bit_cast<uint32_t>(now[i]), std::bit_cast<uint32_t>(b.expected[i]))
            << "tensor of " << b.size << " floats, float " << i - kGuard;
      }
    }
  }

 private:
  static constexpr size_t kBytes = size_t{1} << 28;
  static constexpr int64_t kGuard = 16;
  struct Block {
    float* data;
    Floats expected;  // of the guards
    int64_t size = 0, stride = 0;
  };
  float next_guard() { return std::bit_cast<float>(0x7F800001u + guard_++ % 0x3FFFFFu); }

  Device& device_;
  Arena arena_;
  std::vector<Block> blocks_;
  uint32_t guard_ = 0;
};

}  // namespace mpq
