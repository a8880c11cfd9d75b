// What every device promises beside its operations: errors that leave it usable, clocks, and its own best rates.
#include "app/bench.h"
#include "tests/devices.h"

namespace mpq {
namespace {

class DeviceBasicsTest : public DeviceTest {};
MPQ_ON_EVERY_DEVICE(DeviceBasicsTest);

TEST_P(DeviceBasicsTest, OutOfMemoryIsTheUsersAndTheDeviceGoesOn) {
  try {
    device_->reserve(size_t{1} << 50);
    FAIL() << "a device of a petabyte";
  } catch (const UserError& error) {
    EXPECT_NE(error.hint().find("--batch"), std::string::npos) << error.hint();
  }
  const DeviceMemory memory(*device_, 4096);
  Arena arena = memory.arena();
  const Tensor t = arena.tensor({3});
  device_->ops().fill(t, 2.0f);
  std::vector<float> values(3);
  device_->copy_out(values.data(), t.data, sizeof(float) * 3);
  EXPECT_EQ(values, std::vector<float>(3, 2.0f));
}

TEST_P(DeviceBasicsTest, ACopyIsTheSameBytes) {
  constexpr size_t bytes = 4096 + 64;
  const DeviceMemory memory(*device_, 3 * bytes);
  Arena arena = memory.arena();
  void *from = arena.take(bytes), *to = arena.take(bytes);
  auto* behind = static_cast<char*>(arena.take(64));
  std::vector<char> values(bytes), read(bytes);
  for (size_t i = 0; i < bytes; ++i) values[i] = static_cast<char>(i * 7);
  device_->copy_in(from, values.data(), bytes);
  device_->copy_in(behind, values.data(), 64);
  device_->run_copy(to, from, bytes);
  device_->copy_out(read.data(), to, bytes);
  EXPECT_EQ(read, values);
  device_->copy_out(read.data(), behind, 64);
  EXPECT_EQ(std::string(read.data(), 64), std::string(values.data(), 64)) << "it went on";
}

TEST_P(DeviceBasicsTest, WorkTakesTimeAndAGpuCountsItsLaunches) {
  const DeviceMemory memory(*device_, 1 << 20);
  Arena arena = memory.arena();
  const Tensor t = arena.tensor({1 << 16});
  const WorkTime one = device_->time([&] { device_->ops().fill(t, 1.0f); });
  const WorkTime two = device_->time([&] { device_->ops().fill(t, 1.0f), device_->ops().fill(t, 2.0f); });
  EXPECT_GT(one.seconds, 0);
  EXPECT_EQ(one.launches.has_value(), !is_cpu());
  if (is_cpu()) return;
  EXPECT_EQ(*one.launches, 1);
  EXPECT_EQ(*two.launches, 2);
}

// Rates that any machine reaches and none passes.
TEST_P(DeviceBasicsTest, TheCeilingIsARate) {
  const Ceiling ceiling = measure_ceiling(*device_, 0.01, 1 << 22);
  EXPECT_GT(ceiling.gflops, 1);
  EXPECT_LT(ceiling.gflops, 1e7);
  EXPECT_GT(ceiling.copy_gb, 0.1);
  EXPECT_LT(ceiling.copy_gb, 1e6);
}

}  // namespace
}  // namespace mpq
