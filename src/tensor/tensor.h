// A tensor is a view: contiguous rows somewhere in an arena. It never owns and never frees.
#pragma once
#include <cstdint>
#include <initializer_list>

#include "base/error.h"
#include "base/hd.h"

namespace mpq {

// bf16 is a gradient in the place of floats: each row fills the first half of theirs (WideCrossEntropy).
enum class DType : uint8_t { f32, i32, bf16 };

struct Shape {
  int64_t dims[4] = {1, 1, 1, 1};
  int rank = 0;

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes) {
    check(sizes.size() <= 4, "a tensor has at most 4 dimensions, not {}", sizes.size());
    for (int64_t s : sizes) dims[rank++] = s;
  }
  HD int64_t operator[](int i) const { return dims[i]; }
  HD int64_t size() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= dims[i];
    return n;
  }
  bool operator==(const Shape&) const = default;
};

// The same tensor for R replicas: replica r starts replica_stride elements after replica r - 1; stride 0 = shared by
// all.
struct Tensor {
  void* data = nullptr;
  Shape shape;
  DType dtype = DType::f32;
  int replicas = 1;
  int64_t replica_stride = 0;

  HD explicit operator bool() const { return data != nullptr; }
  HD int64_t rows() const { return shape.rank == 0 ? 1 : shape[0]; }
  HD int64_t cols() const { return shape.rank < 2 ? 1 : shape.size() / shape[0]; }

  HD float* f32(int replica = 0) const { return static_cast<float*>(data) + replica * replica_stride; }
  HD int32_t* i32(int replica = 0) const { return static_cast<int32_t*>(data) + replica * replica_stride; }
};

}  // namespace mpq
