// Copies whose formats look at one value at a time, made by the kernel that has the values in its registers.
#pragma once
#include "cuda/matrices.cuh"
#include "cuda/quantize.cuh"

namespace mpq {

// All of `copies`, or none: then they are left to quantize_copies.
struct ElementCopies {
  struct Copy {
    QuantSlot slot;
    Matrices xq;
  } copy[3] = {};
  int count = 0;

  ElementCopies() = default;
  explicit ElementCopies(const QuantizedCopies& copies) {
    for (const QuantizedCopy& c : copies)
      if (!c.slot.elementwise) return;
    for (const QuantizedCopy& c : copies) copy[count++] = {c.slot, matrices(c.xq)};
  }
};

#ifdef __CUDACC__

__device__ __forceinline__ void store_copies(const ElementCopies& copies, int replica, int row, int col, float4 x) {
  for (int i = 0; i < copies.count; ++i)
    store_four(copies.copy[i].xq, replica, row, col, quantize_elements(copies.copy[i].slot, replica, x));
}
__device__ __forceinline__ void store_copies(const ElementCopies& copies, int replica, int row, int col, float x) {
  for (int i = 0; i < copies.count; ++i)
    copies.copy[i].xq.row(replica, row)[col] = quantize_elements(copies.copy[i].slot, replica, {x, x, x, x}).x;
}

#endif

}  // namespace mpq
