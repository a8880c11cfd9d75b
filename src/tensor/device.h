// A device: its memory and its operations. tensor/open.cpp is the only door to the backends.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tensor/arena.h"
#include "tensor/exchange.h"
#include "tensor/ops.h"

namespace mpq {

// Runs work again and again. On a device with graphs the operations of a key are recorded once, then replayed by one
// launch; elsewhere they run anew. Equal keys must stand for the same operations on the same addresses and shapes: what
// changes from run to run (batch, step, learning rate, formats) lies in the device's memory.
class Replay {
 public:
  virtual ~Replay() = default;
  virtual void run(uint64_t key, const std::function<void()>& work) = 0;
  virtual int64_t nodes() const { return 0; }  // of the largest record
};

// Records nothing.
class Rerun final : public Replay {
 public:
  void run(uint64_t, const std::function<void()>& work) override { work(); }
};

// How long operations take, and how many kernels they launch where the device counts them.
struct WorkTime {
  double seconds = 0;
  std::optional<double> launches;
};

// Any thread may use a device, one at a time.
class Device {
 public:
  virtual ~Device() = default;
  virtual std::string describe() const = 0;      // "CPU, 2 threads, avx512"
  virtual Arena reserve(size_t bytes) = 0;       // until release or the device's end; UserError: out of memory
  virtual void release(const Arena& arena) = 0;  // gives back what reserve gave
  virtual size_t free_bytes() const = 0;         // what reserve could give now
  // What keeps the device busy: replicas of a session, and rows of an evaluation batch of one replica.
  virtual int replicas_at_once() const = 0;
  virtual int rows_at_once() const = 0;
  // Operations and copies happen in the order they were asked for; copy_out waits for all of them.
  virtual void copy_in(void* device, const void* host, size_t bytes) = 0;
  virtual void copy_out(void* host, const void* device, size_t bytes) = 0;
  virtual Ops& ops() = 0;

  virtual std::unique_ptr<Replay> replay() = 0;
  // Times operations as they run in a record, one after the other. May run them several times.
  virtual WorkTime time(const std::function<void()>& work) = 0;
  // What the device can do at best, to be timed like an operation: multiply-adds out of registers as products of floats
  // do them in its precision (returns floating-point operations, a multiply-add is two), and a copy in its memory.
  virtual double run_multiply_adds() = 0;
  virtual void run_copy(void* to, const void* from, size_t bytes) = 0;  // of whole 16 bytes; sessions copy by it too
  // Rows that a record for so many tokens should serve: batches of one bucket share a record.
  virtual int64_t bucket(int64_t rows) const = 0;
  // Sums over this device and another of its kind: this one's end, then the other's. By way of the host unless the
  // backend has better.
  virtual ExchangeEnds exchange_with(Device& other);
};

// A block of a device's memory, given back at the end.
class DeviceMemory {
 public:
  DeviceMemory(Device& device, size_t bytes) : device_(device), arena_(device.reserve(bytes)) {}
  ~DeviceMemory() { device_.release(arena_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  Arena arena() const { return arena_; }

 private:
  Device& device_;
  Arena arena_;
};

// How many significant bits a float operand keeps in a matrix product: all; TF32's 11 or more; bf16's 8. Sums are
// always float32, and operands that fewer bits hold exactly (quantized ones) lose nothing.
enum class Precision : uint8_t { fp32, tf32, bf16 };
Precision parse_precision(const std::string& text);  // UserError
std::string to_text(Precision precision);

// "cpu", "cuda", "cuda:0". UserError where this build or this machine has no such device, or not that precision.
std::unique_ptr<Device> open_device(const std::string& name, Precision precision = Precision::fp32);
// The same, and several GPUs: "cuda:0,1" or "cuda:0,cuda:1".
using Devices = std::vector<std::unique_ptr<Device>>;
Devices open_devices(const std::string& names, Precision precision = Precision::fp32);

}  // namespace mpq
