// A tensor as kernels of matrix products take it, and the few ways they touch its elements.
#pragma once
#include "cuda/common.cuh"

namespace mpq {

// A row-major matrix of every replica.
struct Matrices {
  float* data = nullptr;
  int64_t replica_stride = 0;
  int rows = 0, cols = 0;
  bool vectors = false;  // every row starts on a 16-byte boundary

  HD explicit operator bool() const { return data != nullptr; }
  HD float* row(int replica, int row) const { return data + replica * replica_stride + int64_t{row} * cols; }
};
// A vector is one row.
inline Matrices matrices(const Tensor& t) {
  if (!t) return {};
  const int rows = t.shape.rank == 1 ? 1 : static_cast<int>(t.rows()), cols = static_cast<int>(t.shape.size() / rows);
  const bool vectors = cols % 4 == 0 && aligned(t.data) && t.replica_stride % 4 == 0;
  return {t.f32(), t.replica_stride, rows, cols, vectors};
}

#ifdef __CUDACC__
// Four elements of a row, col a multiple of four; zeros beyond the matrix. kVectors: m.vectors is known.
template <bool kVectors = false>
__device__ __forceinline__ float4 load_four(const Matrices& m, int replica, int row, int col) {
  const float* from = m.row(replica, row) + col;
  if ((kVectors || m.vectors) && col < m.cols) return *reinterpret_cast<const float4*>(from);
  if (kVectors) return {};
  return {col < m.cols ? from[0] : 0.0f, col + 1 < m.cols ? from[1] : 0.0f, col + 2 < m.cols ? from[2] : 0.0f,
          col + 3 < m.cols ? from[3] : 0.0f};
}
// Writes four elements of a row, col a multiple of four; what is beyond the matrix stays out.
template <bool kVectors = false>
__device__ __forceinline__ void store_four(const Matrices& m, int replica, int row, int col, float4 x) {
  float* to = m.row(replica, row) + col;
  if (kVectors || m.vectors) {
    if (col < m.cols) *reinterpret_cast<float4*>(to) = x;
    return;
  }
  if (col < m.cols) to[0] = x.x;
  if (col + 1 < m.cols) to[1] = x.y;
  if (col + 2 < m.cols) to[2] = x.z;
  if (col + 3 < m.cols) to[3] = x.w;
}

__device__ __forceinline__ float4 operator+(float4 a, float4 b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }
__device__ __forceinline__ float4 operator*(float4 a, float4 b) { return {a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w}; }
#endif

}  // namespace mpq
