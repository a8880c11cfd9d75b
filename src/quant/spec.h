// QuantSpec: the number format of one quantized tensor. Text: name(key=value,...), e.g. block_fp(width=7,exponent=8,
// block=1x16); `mpq formats` lists them.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "quant/format_headers.h"
#include "quant/statistics.h"
#include "quant/tiles.h"

namespace mpq {

#define MPQ_ENUMERATOR(name, Type) name,
enum class Format : uint8_t { MPQ_FORMATS(MPQ_ENUMERATOR) };
#undef MPQ_ENUMERATOR

// Trivially copyable, without pointers: kernels read it from a table in device memory.
struct QuantSpec {
  Format format = Format::none;
#define MPQ_MEMBER(name, Type) Type name;
  union {
    None unset = {};
    MPQ_FORMATS(MPQ_MEMBER)
  };
#undef MPQ_MEMBER
};
static_assert(sizeof(QuantSpec) <= 64 && std::is_trivially_copyable_v<QuantSpec>);

// Calls visitor(parameters) with the struct of the format in use. On a device the visitor may be a device function.
#ifdef __CUDACC__
#pragma nv_exec_check_disable
#endif
template <class Visitor>
HD auto visit(const QuantSpec& spec, Visitor&& visitor) {
#define MPQ_CASE(name, Type) \
  case Format::name:         \
    return visitor(spec.name);
  switch (spec.format) { MPQ_FORMATS(MPQ_CASE) }
#undef MPQ_CASE
  __builtin_unreachable();
}

// What a format may have beyond the quantizer of one value: see block_fp.h and binary_residual.h.
template <class F>
concept TileFormat = requires(const F& f) {
  f.tile_bits();
};
template <class F>
concept TrainedFormat = requires(const F& f) {
  f.trained_count();
};

HD bool is_none(const QuantSpec& spec) { return spec.format == Format::none; }
bool operator==(const QuantSpec& a, const QuantSpec& b);

// UserError: unknown format or key, a value out of range, a key without default missing.
QuantSpec parse_format(std::string_view text);
// Canonical: all integers, other keys where they differ from their default. parse_format(to_text(s)) == s.
std::string to_text(const QuantSpec& spec);

// How far the statistics behind one quantized value reach. `row` holds for finite values (one NaN in a tensor reaches
// the all-zero tiles of MASE's block formats).
HD Reach reach(const QuantSpec& spec, Role role) {
  return visit(spec, [&](const auto& format) {
    using F = std::remove_cvref_t<decltype(format)>;
    if constexpr (requires { format.reach(role); })
      return format.reach(role);
    else if constexpr (TileFormat<F>)
      return over_tensor(format) ? Reach::sequence : Reach::row;
    else
      return Reach::element;
  });
}
// Passes over the whole tensor before its first value can be quantized.
HD int surveys(const QuantSpec& spec) {
  return visit(spec, [](const auto& format) {
    using F = std::remove_cvref_t<decltype(format)>;
    return over_tensor(format) ? passes<WidestStatistic<F>>() : 0;
  });
}
// How far one of an activation's tiles reaches: less than its format where that also takes a minimum over all of them.
HD Reach tile_reach(const QuantSpec& spec) {
  return visit(spec, [&](const auto& format) {
    if constexpr (requires { format.tile_reach(Role::activation); })
      return format.tile_reach(Role::activation);
    else
      return reach(spec, Role::activation);
  });
}
// Width of the tiles of an activation's row that, where they hold nothing but zeros, are filled with a minimum over all
// rows; 0: there are none.
HD int64_t filled_tile_width(const QuantSpec& spec, int64_t cols) {
  return visit(spec, [&](const auto& format) -> int64_t {
    if constexpr (FillsZeroTiles<std::remove_cvref_t<decltype(format)>>)
      if (format.reach(Role::activation) == Reach::sequence)
        return format.tiles(Role::activation, {3, {1, 1, cols}}).tile_cols;
    return 0;
  });
}
// Storage of a weight [rows, cols], what its tiles share counted.
double bits_per_value(const QuantSpec& spec, int64_t rows, int64_t cols);

// The key that scales a format, where it has one: one more, and every value that the format holds is half as large.
struct ScaleKey {
  std::string_view name;
  int min, max;
};
std::optional<ScaleKey> scale_key(const QuantSpec& spec);
QuantSpec with_scale(QuantSpec spec, int value);  // of a format that has the key

HD int trained_count(const QuantSpec& spec) {
  return visit(spec, [](const auto& format) {
    if constexpr (TrainedFormat<std::remove_cvref_t<decltype(format)>>)
      return format.trained_count();
    else
      return 0;
  });
}
// Straight-through: dx = dxq. False for formats with trainable parameters (binary_residual).
HD bool gradient_is_identity(const QuantSpec& spec) { return trained_count(spec) == 0; }
void initial_trained(const QuantSpec& spec, float* trained);  // [trained_count]

// For `mpq formats` and error messages.
struct KeyInfo {
  std::string name, allowed, fallback;  // fallback: the default, as text; empty = the key is required
};
struct FormatInfo {
  std::string_view name, summary;
  std::vector<KeyInfo> keys;
  std::vector<std::string_view> samples;
};
std::vector<FormatInfo> format_list();
std::string_view to_text(Reach reach);

}  // namespace mpq
