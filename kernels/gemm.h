// Matrix products of one thread. Every element of C is one chain of fused multiply-adds over k in ascending order,
// started from its initial value: its bits depend neither on tiles nor on registers nor on the instruction set.
#pragma once
#include <cstdint>

#include "kernels/simd.h"

#include "kernels/isa_begin.h"

#ifdef MPQ_ISA_avx512
inline constexpr int kTileRows = 12, kTileVectors = 2;  // 24 accumulators of 32 registers
#else
inline constexpr int kTileRows = 6, kTileVectors = 1;  // 12 of 16 (a vector is two registers)
#endif
inline constexpr int kPanel = 16 * kTileVectors;  // columns of a packed panel

// A(m, k) = a[m * row_step + k * k_step]: one of the two steps is 1.
struct AView {
  const float* a;
  int64_t row_step, k_step;
};
// B(k, n) = b[k * k_step + n] within a panel of kPanel columns; the next panel starts panel_step further.
struct BView {
  const float* b;
  int64_t k_step, panel_step;
};
inline BView rows_of(const float* b, int64_t row_length) { return {b, row_length, kPanel}; }

// What the chain of an element starts from: 0, a row shared by all (bias: row_step 0), or C itself.
struct Start {
  const float* from = nullptr;
  int64_t row_step = 0;
};

// C[m, n] = start + sum_k A(m, k) B(k, n).
void gemm(int64_t m, int64_t n, int64_t k, AView a, BView b, Start start, float* c, int64_t c_step);

// C[m, n] += (sum_k A(m, k) B(k, n)): the same bits as a product into a buffer of its own, added afterwards.
void gemm_add(int64_t m, int64_t n, int64_t k, AView a, BView b, float* c, int64_t c_step);

// Floats needed to pack a [n, k] matrix by pack_transposed, and the packing itself: panels of W^T for y = x W^T.
inline int64_t packed_size(int64_t n, int64_t k) { return (n + kPanel - 1) / kPanel * kPanel * k; }
void pack_transposed(const float* w, int64_t row_length, int64_t n, int64_t k, float* packed);
inline BView packed_panels(const float* packed, int64_t k) { return {packed, kPanel, kPanel * k}; }

#include "kernels/isa_end.h"
