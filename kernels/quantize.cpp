#include "kernels/quantize.h"

#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "kernels/reduce.h"

#include "kernels/isa_begin.h"
namespace {

// x may equal y everywhere: the values are independent.
template <class Rule>
void apply(const Rule& rule, const float* x, float* y, int64_t count) {
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) y[i] = rule(x[i]);
}

// For the short rows of tiles. `zero` is added: -0 changes nothing, +0 turns -0 into +0, NaN makes all NaN.
template <class Rule>
void apply_in_tile(const Rule& rule, const float* x, float* y, int64_t count, float zero) {
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
#pragma GCC ivdep
    for (int j = 0; j < lanes; ++j) y[i + j] = rule(x[i + j]) + zero;
  }
  for (; i < count; ++i) y[i] = rule(x[i]) + zero;
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

// Tiles are handled in groups, so that the rules of a group are prepared with vector instructions: for tiles of 16
// values that takes as long as the values themselves.
template <class F>
class TileQuantizer {
 public:
  TileQuantizer(const F& format, const Tiles& tiles, const float* x, float* y)
      : format_(format), tiles_(tiles), x_(x), y_(y) {}

  // All-zero tiles wait until the smallest non-zero maximum is known, where the format wants that.
  void run() {
    if constexpr (AsksForTensor<F>)
      if (over_tensor(format_)) tensor_ = statistic<TensorStatistic<F>>(x_, tiles_.batches * tiles_.rows * tiles_.cols);
    for_each_tile(tiles_, [&](const Tile& tile) { add(tile, statistic_of<TileStatistic<F>>(tile)); });
    if constexpr (FillsZeroTiles<F>)
      for (const Tile& tile : zero_tiles_) hold(tile, any_nan_ ? NAN : least_);
    flush();
  }

 private:
  using Value = typename TileStatistic<F>::Value;
  using TensorValue = typename TensorStatistic<F>::Value;
  using Rule = decltype(rule_of(std::declval<F>(), Value{}, TensorValue{}));

  template <class S>
  typename S::Value statistic_of(const Tile& tile) const {
    const float* x = x_ + tile.start;
    const bool one_run = tile.rows == 1 || tile.cols == tiles_.cols;
    if constexpr (S::Parts::ordered) {
      check(one_run, "a sum over a tile of {} rows that is no run of values", tile.rows);
    } else if (!one_run) {
      typename S::Parts all{};
      for (int64_t r = 0; r < tile.rows; ++r) all.join(reduce<S>(x + r * tiles_.cols, tile.cols));
      return S::value(all, tile.rows * tile.cols);
    }
    return statistic<S>(x, tile.rows * tile.cols);
  }

  void add(const Tile& tile, const Value& value) {
    if constexpr (FillsZeroTiles<F>) {
      if (value == 0) return zero_tiles_.push_back(tile);
      any_nan_ |= value != value;
      least_ = none_yet_ || value < least_ ? value : least_;
      none_yet_ = false;
    }
    hold(tile, value);
  }

  void hold(const Tile& tile, const Value& value) {
    group_[count_] = tile;
    value_[count_++] = value;
    if (count_ == lanes) flush();
  }

  void flush() {
    Rule rule[lanes];
    for (int i = 0; i < lanes; ++i) rule[i] = rule_of(format_, value_[i], tensor_);
    for (int i = 0; i < count_; ++i) {
      const float zero = TileStatistic<F>::spoils(value_[i]) ? NAN : tiles_.fold ? 0.0f : -0.0f;
      for (int64_t r = 0; r < group_[i].rows; ++r) {
        const int64_t at = group_[i].start + r * tiles_.cols;
        apply_in_tile(rule[i], x_ + at, y_ + at, group_[i].cols, zero);
      }
    }
    count_ = 0;
  }

  const F format_;
  const Tiles tiles_;
  const float* const x_;
  float* const y_;
  Tile group_[lanes];
  Value value_[lanes] = {};
  TensorValue tensor_ = {};
  int count_ = 0;
  float least_ = 1;  // non-zero maximum; 1 where there is none
  bool none_yet_ = true, any_nan_ = false;
  std::vector<Tile> zero_tiles_;
};

template <class F>
void mask_gradient(const F& format, int64_t count, const float* x, const float* dxq, const float* trained, float* dx) {
  const auto rule = format.rule(trained);
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    float unused[F::max_trained];
    dx[i] = rule.gradient(x[i], dxq[i], unused);
  }
}

// Each lane sums its own values; then the lanes are added in order.
template <class F>
void add_trained_gradient(const F& format, int64_t count, const float* x, const float* dxq, const float* trained,
                          float* dtrained) {
  const auto rule = format.rule(trained);
  double sum[F::max_trained][lanes] = {};
  const auto add = [&](int64_t i, int lane) {
    float d[F::max_trained];
    rule.gradient(x[i], dxq[i], d);
    for (int l = 0; l < F::max_trained; ++l) sum[l][lane] += d[l];
  };
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
#pragma GCC ivdep
    for (int j = 0; j < lanes; ++j) add(i + j, j);
  }
  for (; i < count; ++i) add(i, 0);
  for (int l = 0; l < format.trained_count(); ++l) {
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
      TileQuantizer<F>(format, format.tiles(role, shape), x, y).run();
    } else if constexpr (TrainedFormat<F>) {
      apply(format.rule(trained), x, y, shape.size());
    } else {
      apply(format.rule(), x, y, shape.size());
    }
  });
}

void quantize_grad(const QuantSpec& spec, Role, const QuantShape& shape, const float* x, const float* dxq, float* dx,
                   const float* trained, float* dtrained) {
  visit(spec, [&](const auto& format) {
    if constexpr (TrainedFormat<std::remove_cvref_t<decltype(format)>>) {
      if (dtrained) add_trained_gradient(format, shape.size(), x, dxq, trained, dtrained);
      if (dx) mask_gradient(format, shape.size(), x, dxq, trained, dx);
    } else if (dx && dxq != dx) {
      std::memcpy(dx, dxq, shape.size() * sizeof(float));
    }
  });
}

#include "kernels/isa_end.h"
