#include "kernels/gemm.h"

#include <algorithm>
#include <utility>

#include "kernels/isa_begin.h"

namespace {

constexpr int64_t kDepth = 256;  // k at a time: a panel of B then stays in the first-level cache

template <int MR, int NV, class Lanes>
MPQ_INLINE void tile(int64_t k, AView a, const float* b, int64_t b_step, Start start, bool add_to_c, float* c,
                     int64_t c_step, Lanes lanes) {
  // Every loop over rows and vectors is unrolled whole, so that `sum` lives in registers.
  F16 sum[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v)
      sum[i][v] = start.from ? load(start.from + i * start.row_step + v * 16, lanes(v)) : zero();
  for (int64_t p = 0; p < k; ++p, b += b_step) {
    F16 row[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) row[v] = load(b + v * 16, lanes(v));
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const F16 x = set(a.a[i * a.row_step + p * a.k_step]);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) sum[i][v] = fma(x, row[v], sum[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) {
      float* to = c + i * c_step + v * 16;
      store(to, add_to_c ? load(to, lanes(v)) + sum[i][v] : sum[i][v], lanes(v));
    }
}

// Whole vectors or a masked last one, and the two layouts of A, as constants of the compiler.
template <int MR, int NV>
[[gnu::noinline]] void tile_of(int64_t k, AView a, const float* b, int64_t b_step, Start start, bool add_to_c, float* c,
                               int64_t c_step, int columns) {
  const auto run = [&](auto lanes) __attribute__((always_inline)) {
    if (a.row_step == 1)
      tile<MR, NV>(k, {a.a, 1, a.k_step}, b, b_step, start, add_to_c, c, c_step, lanes);
    else
      tile<MR, NV>(k, {a.a, a.row_step, 1}, b, b_step, start, add_to_c, c, c_step, lanes);
  };
  const M16 all = first_lanes(16), last = first_lanes(columns - (NV - 1) * 16);
  if (columns == NV * 16)
    run([=](int) { return AllLanes{}; });
  else
    run([=](int v) { return v == NV - 1 ? last : all; });
}

using TileFunction = void (*)(int64_t, AView, const float*, int64_t, Start, bool, float*, int64_t, int);

template <int NV, int... MR>
TileFunction pick(int rows, std::integer_sequence<int, MR...>) {
  static constexpr TileFunction table[] = {tile_of<MR + 1, NV>...};
  return table[rows - 1];
}
TileFunction tile_function(int rows, int vectors) {
  constexpr auto all = std::make_integer_sequence<int, kTileRows>();
  if constexpr (kTileVectors == 2)
    if (vectors == 2) return pick<2>(rows, all);
  return pick<1>(rows, all);
}

// All tiles of C for `depth` steps of k from k0.
void tiles(int64_t m, int64_t n, int64_t k0, int64_t depth, AView a, BView b, Start start, bool add_to_c, float* c,
           int64_t c_step) {
  for (int64_t j = 0; j < n; j += kPanel) {
    const int columns = static_cast<int>(std::min<int64_t>(kPanel, n - j));
    const float* panel = b.b + j / kPanel * b.panel_step + k0 * b.k_step;
    for (int64_t i = 0; i < m; i += kTileRows) {
      const int rows = static_cast<int>(std::min<int64_t>(kTileRows, m - i));
      Start from = start;
      if (from.from) from.from += i * from.row_step + j;
      const AView at{a.a + i * a.row_step + k0 * a.k_step, a.row_step, a.k_step};
      tile_function(rows, (columns + 15) / 16)(depth, at, panel, b.k_step, from, add_to_c, c + i * c_step + j, c_step,
                                               columns);
    }
  }
}

}  // namespace

void gemm(int64_t m, int64_t n, int64_t k, AView a, BView b, Start start, float* c, int64_t c_step) {
  tiles(m, n, 0, std::min(kDepth, k), a, b, start, false, c, c_step);
  for (int64_t k0 = kDepth; k0 < k; k0 += kDepth)
    tiles(m, n, k0, std::min(kDepth, k - k0), a, b, {c, c_step}, false, c, c_step);
}

void gemm_add(int64_t m, int64_t n, int64_t k, AView a, BView b, float* c, int64_t c_step) {
  tiles(m, n, 0, k, a, b, {}, true, c, c_step);
}

void pack_transposed(const float* w, int64_t row_length, int64_t n, int64_t k, float* packed) {
  for (int64_t j = 0; j < n; j += kPanel) {
    float* panel = packed + j * k;
    const int64_t columns = std::min<int64_t>(kPanel, n - j);
    for (int64_t c = 0; c < columns; ++c)
      for (int64_t p = 0; p < k; ++p) panel[p * kPanel + c] = w[(j + c) * row_length + p];
    for (int64_t c = columns; c < kPanel; ++c)
      for (int64_t p = 0; p < k; ++p) panel[p * kPanel + c] = 0.0f;
  }
}

#include "kernels/isa_end.h"
