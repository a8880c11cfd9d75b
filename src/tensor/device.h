// A device: its memory and its operations. tensor/open.cpp is the only door to the backends.
#pragma once
#include <cstddef>
#include <memory>
#include <string>

#include "tensor/arena.h"
#include "tensor/ops.h"

namespace mpq {

class Device {
 public:
  virtual ~Device() = default;
  virtual std::string describe() const = 0;  // "CPU, 2 threads, avx512"
  virtual Arena reserve(size_t bytes) = 0;   // memory the device owns until it is destroyed
  virtual void copy_in(void* device, const void* host, size_t bytes) = 0;
  virtual void copy_out(void* host, const void* device, size_t bytes) = 0;
  virtual Ops& ops() = 0;
};

// "cpu", "cuda", "cuda:0". UserError where this build or this machine has no such device.
std::unique_ptr<Device> open_device(const std::string& name);

// Operations that do nothing: with a measuring Arena, a dry run tells how much memory a step takes.
Ops& dry_ops();

}  // namespace mpq
