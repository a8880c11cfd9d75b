#include "quant/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "quant/quantize.h"
#include "quant/spec_text.h"

namespace mpq {
namespace {

// name(keys) with another value of one key.
std::string with_value(std::string_view text, std::string_view key, std::string_view value) {
  const auto [name, keys] = parse_call(text);
  std::vector<std::string> parts;
  for (const std::string_view part : split(keys, ','))
    parts.push_back(trim(part.substr(0, part.find('='))) == key ? fmt::format("{}={}", key, value) : std::string(part));
  return fmt::format("{}({})", name, join(parts, ","));
}

// The key whose value is that word, or nothing.
std::string_view key_of(std::string_view text, std::string_view word) {
  for (const std::string_view part : split(parse_call(text).keys, ','))
    if (const size_t equals = part.find('='); equals != std::string_view::npos && trim(part.substr(equals + 1)) == word)
      return trim(part.substr(0, equals));
  return {};
}

// The scale's key gets `value` in place of the word.
QuantSpec parse_with(std::string_view text, std::string_view key, std::string_view word, std::string_view value) {
  const QuantSpec spec = parse_format(with_value(text, key, value));
  const auto scale = scale_key(spec);
  if (!scale || scale->name != key)
    throw UserError(fmt::format("{}: {}={} is not allowed", parse_call(text).name, key, word),
                    scale ? fmt::format("{} is for {}", word, scale->name) : "this format has no scale to choose");
  return spec;
}

// What a format does beyond its range: it saturates.
struct Ends {
  double low, high;
};
Ends ends_of(const QuantSpec& spec) {
  constexpr float largest = std::numeric_limits<float>::max();
  const float x[] = {-largest, largest};
  float y[2];
  quantize(spec, Role::weight, {1, {2, 1, 1}}, x, y);
  return {y[0], y[1]};
}

double largest_magnitude(std::span<const float> values) {
  double largest = 0;
  for (const float v : values) largest = std::max(largest, std::abs(static_cast<double>(v)));
  return largest;
}

// The largest scale whose range holds `magnitude`, or the widest range there is.
int narrowest_holding(const QuantSpec& spec, const ScaleKey& key, double magnitude) {
  int widest = key.max;
  for (int scale = key.max; scale >= key.min; --scale) {
    const double range = ends_of(with_scale(spec, scale)).high;
    if (range >= magnitude) return scale;
    if (range > ends_of(with_scale(spec, widest)).high) widest = scale;
  }
  return widest;
}

double squared_error(const QuantSpec& spec, std::span<const float> values) {
  constexpr size_t kBlock = 4096;
  float quantized[kBlock];
  double sum = 0;
  for (size_t at = 0; at < values.size(); at += kBlock) {
    const auto block = values.subspan(at, std::min(kBlock, values.size() - at));
    quantize(spec, Role::weight, {1, {static_cast<int64_t>(block.size()), 1, 1}}, block.data(), quantized);
    for (size_t i = 0; i < block.size(); ++i) {
      const double error = static_cast<double>(block[i]) - quantized[i];
      sum += error * error;
    }
  }
  return sum;
}

// What saturation alone costs: it only grows as the range shrinks.
double saturation_error(const QuantSpec& spec, std::span<const float> values) {
  const Ends ends = ends_of(spec);
  double sum = 0;
  for (const float v : values) {
    const double over = std::max({0.0, v - ends.high, ends.low - v});
    sum += over * over;
  }
  return sum;
}

// From the range that holds every value to narrower ones, until saturation alone costs more than the best.
int least_error(const QuantSpec& spec, const ScaleKey& key, std::span<const float> values, int holding) {
  int best = holding;
  double least = squared_error(with_scale(spec, best), values);
  for (int scale = holding + 1; scale <= key.max; ++scale) {
    const QuantSpec candidate = with_scale(spec, scale);
    if (saturation_error(candidate, values) >= least) break;
    const double error = squared_error(candidate, values);
    if (error < least) least = error, best = scale;
  }
  return best;
}

}  // namespace

OpenFormat parse_open_format(std::string_view text) {
  if (const std::string_view key = key_of(text, "half"); !key.empty()) {
    const QuantSpec spec = parse_with(text, key, "half", "0");
    if (spec.format != Format::integer)
      throw UserError(fmt::format("{}: {}=half is not allowed", parse_call(text).name, key), "half is for integer");
    return {with_scale(spec, spec.integer.width / 2)};
  }
  const std::string_view key = key_of(text, "auto");
  if (key.empty()) return {parse_format(text)};
  return {parse_with(text, key, "auto", "0"), true};
}

LinearSpec OpenLinear::closed() const {
  check(!open(), "a scale of {} is open", to_text(w.spec));
  return {x.spec, w.spec, b.spec, y};
}

OpenLinear parse_open_linear(std::string_view text) {
  const LinearText linear = spell_out(text);
  const OpenFormat y = parse_open_format(linear.y);
  if (y.open) throw UserError(fmt::format("y={}: outputs are not calibrated", linear.y), "auto is for x, w and b");
  return {parse_open_format(linear.x), parse_open_format(linear.w), parse_open_format(linear.b), y.spec};
}

OpenLinear known(const LinearSpec& spec) { return {{spec.x}, {spec.w}, {spec.b}, spec.y}; }

FitRule parse_fit_rule(const std::string& text) {
  if (text == "max") return FitRule::max;
  if (text == "mse") return FitRule::mse;
  throw UserError(fmt::format("--calibrate {}: no such rule", text), "allowed: max, mse");
}

QuantSpec fit(const QuantSpec& spec, std::span<const float> values, FitRule rule) {
  const auto key = scale_key(spec);
  check(key.has_value(), "{} has no scale", to_text(spec));
  const double magnitude = largest_magnitude(values);
  const int holding = narrowest_holding(spec, *key, magnitude > 0 ? magnitude : 1);
  if (rule == FitRule::max || magnitude == 0) return with_scale(spec, holding);
  return with_scale(spec, least_error(spec, *key, values, holding));
}

}  // namespace mpq
