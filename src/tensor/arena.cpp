#include "tensor/arena.h"

#include <algorithm>
#include <cstdint>

namespace mpq {

void* Arena::take(size_t bytes) {
  constexpr size_t alignment = 64;
  const size_t start = used_;
  used_ += (bytes + alignment - 1) / alignment * alignment;
  peak_ = std::max(peak_, used_);
  if (measuring()) return reinterpret_cast<void*>(uintptr_t{alignment} + start);
  check(used_ <= capacity_, "arena of {} bytes is full: {} asked for, {} in use", capacity_, bytes, start);
  return base_ + start;
}

Tensor Arena::tensor(Shape shape, int replicas, DType dtype) {
  const int64_t size = (shape.size() + 15) / 16 * 16;  // every replica starts on a 64-byte boundary
  Tensor t{
      .data = take(static_cast<size_t>(size * replicas) * 4), .shape = shape, .dtype = dtype, .replicas = replicas};
  t.replica_stride = replicas > 1 ? size : 0;
  return t;
}

}  // namespace mpq
