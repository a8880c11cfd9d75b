// A bump allocator over one block of device memory. Addresses never move; reset() forgets everything at once.
// Three lifetimes: parameters (a session), activations (one step), scratch (one op).
#pragma once
#include <cstddef>

#include "tensor/tensor.h"

namespace mpq {

class Arena {
 public:
  Arena() = default;  // measures only: hands out no memory
  Arena(std::byte* base, size_t capacity) : base_(base), capacity_(capacity) {}

  // Uninitialised, 64-byte aligned. While measuring, data is a fake address that must not be read.
  Tensor tensor(Shape shape, int replicas = 1, DType dtype = DType::f32);
  template <class T>
  T* array(int64_t count) {
    return static_cast<T*>(take(static_cast<size_t>(count) * sizeof(T)));
  }
  void* take(size_t bytes);

  void reset() { used_ = 0; }
  size_t mark() const { return used_; }
  void rewind(size_t mark) { used_ = mark; }
  size_t peak() const { return peak_; }
  const std::byte* base() const { return base_; }
  size_t capacity() const { return capacity_; }
  bool measuring() const { return base_ == nullptr; }

 private:
  std::byte* base_ = nullptr;
  size_t capacity_ = 0, used_ = 0, peak_ = 0;
};

}  // namespace mpq
