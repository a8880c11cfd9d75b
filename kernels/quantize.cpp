#include "kernels/quantize.h"

#include <cstring>
#include <limits>
#include <vector>

#include "kernels/isa_begin.h"
namespace {

// Values are handled in groups of this many, whatever the vector width, so that reductions have a fixed order.
constexpr int lanes = 16;

// `zero` is added: -0 changes nothing, +0 turns -0 into +0, NaN makes all NaN. x may equal y: values are independent.
template <class Rule>
void apply(const Rule& rule, const float* x, float* y, int64_t count, float zero) {
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
#pragma GCC ivdep
    for (int j = 0; j < lanes; ++j) y[i + j] = rule(x[i + j]) + zero;
  }
  for (; i < count; ++i) y[i] = rule(x[i]) + zero;
}

// Bits of max |x|: as unsigned integers NaN > infinity > numbers.
uint32_t max_magnitude(const float* x, int64_t count, uint32_t max) {
  uint32_t lane[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (int j = 0; j < lanes; ++j) {
      const uint32_t bits = to_bits(x[i + j]) & 0x7fffffffu;
      lane[j] = bits > lane[j] ? bits : lane[j];
    }
  for (int j = 0; j < lanes; ++j) max = lane[j] > max ? lane[j] : max;
  for (; i < count; ++i) {
    const uint32_t bits = to_bits(x[i]) & 0x7fffffffu;
    max = bits > max ? bits : max;
  }
  return max;
}

struct Tile {
  int64_t start, rows, cols;
};

template <class Visitor>
void for_each_tile(const Tiles& t, Visitor&& visitor) {
  for (int64_t b = 0; b < t.batches; ++b)
    for (int64_t r = 0; r < t.rows; r += t.tile_rows)
      for (int64_t c = 0; c < t.cols; c += t.tile_cols)
        visitor(Tile{(b * t.rows + r) * t.cols + c, t.rows - r < t.tile_rows ? t.rows - r : t.tile_rows,
                     t.cols - c < t.tile_cols ? t.cols - c : t.tile_cols});
}

template <class F>
void quantize_tile(const F& format, const Tiles& t, const Tile& tile, float max, const float* x, float* y) {
  const bool nan = max != max;
  const auto rule = format.rule(nan ? 1.0f : max);
  const float zero = nan ? max : t.fold ? 0.0f : -0.0f;
  for (int64_t r = 0; r < tile.rows; ++r) {
    const int64_t at = tile.start + r * t.cols;
    apply(rule, x + at, y + at, tile.cols, zero);
  }
}

// One pass; all-zero tiles wait for the smallest non-zero maximum where the format wants it.
template <class F>
void quantize_tiles(const F& format, const Tiles& t, const float* x, float* y) {
  uint32_t least = ~0u;
  bool any_nan = false;
  std::vector<Tile> zero_tiles;
  for_each_tile(t, [&](const Tile& tile) {
    uint32_t bits = 0;
    for (int64_t r = 0; r < tile.rows; ++r) bits = max_magnitude(x + tile.start + r * t.cols, tile.cols, bits);
    if (F::fill_zero_tiles && bits == 0) return zero_tiles.push_back(tile);
    any_nan |= bits > 0x7f800000u;
    least = bits < least ? bits : least;
    quantize_tile(format, t, tile, from_bits(bits), x, y);
  });
  const float fill = any_nan ? std::numeric_limits<float>::quiet_NaN() : least == ~0u ? 1.0f : from_bits(least);
  for (const Tile& tile : zero_tiles) quantize_tile(format, t, tile, fill, x, y);
}

// Each lane sums its own values; then the lanes are added in order.
template <class F>
void gradient(const F& format, int64_t count, const float* x, const float* dxq, float* dx, const float* trained,
              float* dtrained) {
  const auto rule = format.rule(trained);
  double sum[F::max_trained][lanes] = {};
  const auto add = [&](int64_t i, int lane) {
    float d[F::max_trained];
    dx[i] = rule.gradient(x[i], dxq[i], d);
    for (int l = 0; l < F::max_trained; ++l) sum[l][lane] += d[l];
  };
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
#pragma GCC ivdep
    for (int j = 0; j < lanes; ++j) add(i + j, j);
  }
  for (; i < count; ++i) add(i, 0);
  for (int l = 0; dtrained && l < format.trained_count(); ++l) {
    double total = 0;
    for (int j = 0; j < lanes; ++j) total += sum[l][j];
    dtrained[l] += static_cast<float>(total);
  }
}

}  // namespace

void quantize(const QuantSpec& spec, Role role, const QuantShape& shape, const float* x, float* y,
              const float* trained) {
  visit(spec, [&](const auto& format) {
    using F = std::remove_cvref_t<decltype(format)>;
    if constexpr (std::is_same_v<F, None>) {
      if (x != y) std::memcpy(y, x, shape.size() * sizeof(float));
    } else if constexpr (TileFormat<F>) {
      quantize_tiles(format, format.tiles(role, shape), x, y);
    } else if constexpr (TrainedFormat<F>) {
      apply(format.rule(trained), x, y, shape.size(), -0.0f);
    } else {
      apply(format.rule(), x, y, shape.size(), -0.0f);
    }
  });
}

void quantize_grad(const QuantSpec& spec, Role, const QuantShape& shape, const float* x, const float* dxq, float* dx,
                   const float* trained, float* dtrained) {
  visit(spec, [&](const auto& format) {
    if constexpr (TrainedFormat<std::remove_cvref_t<decltype(format)>>)
      gradient(format, shape.size(), x, dxq, dx, trained, dtrained);
    else if (dxq != dx)
      std::memcpy(dx, dxq, shape.size() * sizeof(float));
  });
}

#include "kernels/isa_end.h"
