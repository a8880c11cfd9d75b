// LayerNorm of a row in a warp's registers and its gradient (Ba et al. 2016).
#pragma once
#include "cuda/quantize.cuh"
#include "cuda/row.cuh"

namespace mpq {

// Blocks of four warps a multiprocessor should hold: the quantizers' registers would leave room for three.
template <int kGroups>
constexpr int kBlocks = kGroups <= 1   ? 6
                        : kGroups <= 2 ? 5
                                       : 1;

#ifdef __CUDACC__

struct RowStats {
  float mean, rstd;
};

template <int kGroups>
__device__ __forceinline__ RowStats row_stats(const Row<kGroups>& s, int cols, float epsilon) {
  float sum = 0, squares = 0;
#pragma unroll
  for (float v : s.value) sum += v;
  const float mean = warp_sum(sum) / static_cast<float>(cols);
  for_columns<kGroups>(cols, [&](int i, int) {
    const float d = s.value[i] - mean;
    squares = fmaf(d, d, squares);
  });
  return {mean, 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(cols) + epsilon)};
}

// s becomes xhat.
template <int kGroups>
__device__ __forceinline__ void standardize(Row<kGroups>& s, RowStats stats) {
#pragma unroll
  for (float& v : s.value) v = (v - stats.mean) * stats.rstd;
}

// xhat becomes x.
template <int kGroups>
__device__ __forceinline__ void scale_and_shift(Row<kGroups>& xhat, const float* gamma, const float* beta, int cols) {
  for_columns<kGroups>(cols,
                       [&](int i, int column) { xhat.value[i] = fmaf(xhat.value[i], gamma[column], beta[column]); });
}

// dx becomes ds.
template <int kGroups>
__device__ __forceinline__ void layer_norm_grad(Row<kGroups>& dx, const Row<kGroups>& xhat, float rstd,
                                                const float* gamma, int cols) {
  float sum_g = 0, sum_gx = 0;
  for_columns<kGroups>(cols, [&](int i, int column) {
    dx.value[i] *= gamma[column];
    sum_g += dx.value[i];
    sum_gx = fmaf(dx.value[i], xhat.value[i], sum_gx);
  });
  const float a = warp_sum(sum_g) / static_cast<float>(cols), b = warp_sum(sum_gx) / static_cast<float>(cols);
#pragma unroll
  for (int i = 0; i < 4 * kGroups; ++i) dx.value[i] = (dx.value[i] - fmaf(xhat.value[i], b, a)) * rstd;
}

// A copy of the values, if this replica's format looks at one at a time.
template <int kGroups>
__device__ __forceinline__ void store_copy(const QuantizedCopy& copy, const Row<kGroups>& x, int replica, int row,
                                           int cols) {
  Row<kGroups> xq;
#pragma unroll
  for (int g = 0; g < kGroups; ++g) {
    const float* v = x.value + 4 * g;
    const float4 four = quantize_elements(copy.slot, replica, {v[0], v[1], v[2], v[3]});
    xq.value[4 * g] = four.x, xq.value[4 * g + 1] = four.y, xq.value[4 * g + 2] = four.z, xq.value[4 * g + 3] = four.w;
  }
  xq.store(copy.xq.f32(replica) + int64_t{row} * cols, cols);
}

// The copies of a row that its warp has in registers and has just written to x, as far as quantize_row_copy makes them.
template <int kGroups>
__device__ __forceinline__ void quantize_row_copies(const QuantizedCopies& copies, const Row<kGroups>& values,
                                                    const float* x, int replica, int row, int cols,
                                                    const Ragged& ragged, uint32_t* counters) {
#pragma unroll 1
  for (int i = 0; i < copies.count; ++i) {
    const Reach far = reach(copies.copy[i].slot, replica);
    if constexpr (kGroups <= 4)  // more values would not stay in registers
      if (far == Reach::element) {
        store_copy(copies.copy[i], values, replica, row, cols);
        continue;
      }
    quantize_row_copy(copies, i, far, x, replica, row, cols, ragged, counters);
  }
}

#endif

}  // namespace mpq
