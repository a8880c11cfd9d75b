// A device that is another one in all but what a derived class overrides.
#pragma once
#include "tensor/device.h"

namespace mpq {

class DeviceAround : public Device {
 public:
  explicit DeviceAround(Device& device) : device_(device) {}
  std::string describe() const override { return device_.describe(); }
  Arena reserve(size_t bytes) override { return device_.reserve(bytes); }
  void release(const Arena& arena) override { device_.release(arena); }
  size_t free_bytes() const override { return device_.free_bytes(); }
  int replicas_at_once() const override { return device_.replicas_at_once(); }
  int rows_at_once() const override { return device_.rows_at_once(); }
  void copy_in(void* device, const void* host, size_t bytes) override { device_.copy_in(device, host, bytes); }
  void copy_out(void* host, const void* device, size_t bytes) override { device_.copy_out(host, device, bytes); }
  Ops& ops() override { return device_.ops(); }
  std::unique_ptr<Replay> replay() override { return device_.replay(); }
  WorkTime time(const std::function<void()>& work) override { return device_.time(work); }
  double run_multiply_adds() override { return device_.run_multiply_adds(); }
  void run_copy(void* to, const void* from, size_t bytes) override { device_.run_copy(to, from, bytes); }
  int64_t bucket(int64_t rows) const override { return device_.bucket(rows); }

 private:
  Device& device_;
};

}  // namespace mpq
