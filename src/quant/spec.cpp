#include "quant/spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "base/error.h"
#include "base/text.h"
#include "quant/spec_text.h"

namespace mpq {

Call parse_call(std::string_view text) {
  text = trim(text);
  const size_t open = text.find('(');
  if (open == std::string_view::npos) return {text, {}};
  if (text.find(')') != text.size() - 1 || text.find('(', open + 1) != std::string_view::npos)
    throw UserError(fmt::format("\"{}\": brackets do not match", text), "write name(key=value,...)");
  return {trim(text.substr(0, open)), trim(text.substr(open + 1, text.size() - open - 2))};
}

namespace {

std::string extent_text(int n) { return n == 0 ? "*" : std::to_string(n); }
std::string block_text(const Block& b) { return extent_text(b.rows) + "x" + extent_text(b.cols); }

// A block [B] has the whole dimension for rows; a tile [B] has one row (MASE's rules).
constexpr int block_rows = 0, tile_rows = 1;

std::string per_allowed(PerKey groups) {
  return groups == PerKey::with_groups ? "tensor, row or the columns of a group" : "tensor or row";
}

std::string reals_text(const float* values, int count) {
  std::vector<std::string> parts;
  for (int i = 0; i < count; ++i) parts.push_back(fmt::format("{}", values[i]));
  return join(parts, ":");
}

// The three visitors of Format::describe(keys) share one interface: one function for each kind of key. `fallback` is
// the default (with a text that explains a computed one); without it a key is required.

class Lister {
 public:
  std::vector<KeyInfo> keys;
  void integer(std::string_view name, int32_t&, int lo, int hi) { add(name, fmt::format("{}..{}", lo, hi), ""); }
  void integer(std::string_view name, int32_t&, int lo, int hi, int, std::string_view fallback_text) {
    add(name, fmt::format("{}..{}", lo, hi), fallback_text);
  }
  void choice(std::string_view name, int32_t&, std::initializer_list<std::string_view> words) {
    add(name, fmt::format("{}", fmt::join(words, "|")), *words.begin());
  }
  void one_of(std::string_view name, int32_t&, std::initializer_list<std::string_view> words) {
    add(name, fmt::format("{}", fmt::join(words, "|")), "");
  }
  void per(std::string_view name, int32_t&, PerKey groups) { add(name, per_allowed(groups), ""); }
  void block(std::string_view name, Block&) { add(name, "COLS or ROWSxCOLS, * = all (COLS alone: all rows)", ""); }
  void tile(std::string_view name, Block&) { add(name, "COLS or ROWSxCOLS, * = all (COLS alone: one row)", ""); }
  void reals(std::string_view name, float*, int, const float*, std::string_view fallback_text) {
    add(name, "finite numbers, one a level, separated by colons", fallback_text);
  }

 private:
  void add(std::string_view name, std::string allowed, std::string_view fallback) {
    keys.push_back({std::string(name), std::move(allowed), std::string(fallback)});
  }
};

class Printer {
 public:
  std::vector<std::string> keys;
  void integer(std::string_view name, int32_t& v, int, int) { add(name, std::to_string(v)); }
  void integer(std::string_view name, int32_t& v, int, int, int, std::string_view) { add(name, std::to_string(v)); }
  void choice(std::string_view name, int32_t& v, std::initializer_list<std::string_view> words) {
    if (v != 0) add(name, words.begin()[v]);
  }
  void one_of(std::string_view name, int32_t& v, std::initializer_list<std::string_view> words) {
    add(name, words.begin()[v]);
  }
  void per(std::string_view name, int32_t& v, PerKey) {
    add(name, v == per_tensor ? "tensor" : v == per_row ? "row" : std::to_string(v));
  }
  void block(std::string_view name, Block& v) { add(name, v.rows == block_rows ? extent_text(v.cols) : block_text(v)); }
  void tile(std::string_view name, Block& v) { add(name, block_text(v)); }
  void reals(std::string_view name, float* v, int count, const float* fallback, std::string_view) {
    if (!std::equal(v, v + count, fallback)) add(name, reals_text(v, count));
  }

 private:
  void add(std::string_view name, std::string_view value) { keys.push_back(fmt::format("{}={}", name, value)); }
};

class Parser {
 public:
  using Signature = std::string (*)(std::string_view format);
  Parser(std::string_view format, std::string_view keys, Signature signature) : format_(format), signature_(signature) {
    if (keys.empty()) return;
    for (std::string_view part : split(keys, ',')) {
      const size_t equals = part.find('=');
      if (equals == std::string_view::npos) fail(fmt::format("\"{}\" is not key=value", trim(part)));
      given_.push_back({trim(part.substr(0, equals)), trim(part.substr(equals + 1)), false});
    }
  }

  void integer(std::string_view name, int32_t& v, int lo, int hi) { read_integer(required(name), name, v, lo, hi); }
  void integer(std::string_view name, int32_t& v, int lo, int hi, int fallback, std::string_view) {
    v = fallback;
    if (const auto* text = take(name)) read_integer(*text, name, v, lo, hi);
  }
  void choice(std::string_view name, int32_t& v, std::initializer_list<std::string_view> words) {
    v = 0;
    if (const auto* text = take(name)) v = read_word(*text, name, words);
  }
  void one_of(std::string_view name, int32_t& v, std::initializer_list<std::string_view> words) {
    v = read_word(required(name), name, words);
  }
  void per(std::string_view name, int32_t& v, PerKey groups) {
    const std::string_view text = required(name);
    const auto number = parse_int(text);
    if (text == "tensor")
      v = per_tensor;
    else if (text == "row")
      v = per_row;
    else if (groups == PerKey::with_groups && number && *number >= 1 && *number <= INT32_MAX)
      v = static_cast<int32_t>(*number);
    else
      fail_value(name, text, per_allowed(groups));
  }
  void block(std::string_view name, Block& v) { v = read_block(name, block_rows); }
  void tile(std::string_view name, Block& v) { v = read_block(name, tile_rows); }
  void reals(std::string_view name, float* v, int count, const float* fallback, std::string_view) {
    std::copy(fallback, fallback + count, v);
    const auto* text = take(name);
    if (!text) return;
    const auto parts = split(*text, ':');
    const auto allowed = fmt::format("{} finite numbers separated by colons", count);
    if (static_cast<int>(parts.size()) != count) fail_value(name, *text, allowed);
    for (int i = 0; i < count; ++i) {
      const auto number = parse_double(trim(parts[i]));
      if (!number || !std::isfinite(static_cast<float>(*number))) fail_value(name, *text, allowed);
      v[i] = static_cast<float>(*number);
    }
  }

  void finish(const char* problem) {  // after all keys have been visited
    for (const Given& g : given_)
      if (!g.used) fail(fmt::format("unknown key \"{}\"", g.key));
    if (problem) fail(problem);
  }

 private:
  struct Given {
    std::string_view key, value;
    bool used;
  };

  const std::string_view* take(std::string_view name) {
    const std::string_view* value = nullptr;
    for (Given& g : given_) {
      if (g.key != name) continue;
      if (value) fail(fmt::format("key \"{}\" is given twice", name));
      value = &g.value;
      g.used = true;
    }
    return value;
  }
  std::string_view required(std::string_view name) {
    const auto* value = take(name);
    if (!value) fail(fmt::format("key \"{}\" is missing", name));
    return *value;
  }
  void read_integer(std::string_view text, std::string_view name, int32_t& v, int lo, int hi) {
    const auto number = parse_int(text);
    if (!number || *number < lo || *number > hi)
      fail_value(name, text, fmt::format("an integer from {} to {}", lo, hi));
    v = static_cast<int32_t>(*number);
  }
  int32_t read_word(std::string_view text, std::string_view name, std::initializer_list<std::string_view> words) {
    const auto* word = std::find(words.begin(), words.end(), text);
    if (word == words.end()) fail_value(name, text, fmt::format("{}", fmt::join(words, " or ")));
    return static_cast<int32_t>(word - words.begin());
  }
  Block read_block(std::string_view name, int rows_if_absent) {
    const std::string_view text = required(name);
    const auto parts = split(text, 'x');
    if (parts.size() > 2) fail_block(name, text);
    return {parts.size() == 2 ? read_extent(name, text, parts[0]) : rows_if_absent,
            read_extent(name, text, parts.back())};
  }
  int32_t read_extent(std::string_view name, std::string_view text, std::string_view part) {
    if (trim(part) == "*") return 0;
    const auto number = parse_int(trim(part));
    if (!number || *number < 1 || *number > INT32_MAX) fail_block(name, text);
    return static_cast<int32_t>(*number);
  }

  [[noreturn]] void fail_block(std::string_view name, std::string_view text) {
    fail_value(name, text, "COLS or ROWSxCOLS, each a positive integer or * for the whole dimension");
  }
  [[noreturn]] void fail_value(std::string_view name, std::string_view text, std::string_view allowed) {
    throw UserError(fmt::format("{}: {}={} is not allowed", format_, name, text), fmt::format("{}: {}", name, allowed));
  }
  [[noreturn]] void fail(std::string_view what) {
    throw UserError(fmt::format("{}: {}", format_, what), "write " + signature_(format_));
  }

  std::string_view format_;
  Signature signature_;
  std::vector<Given> given_;
};

// Finds one integer key.
struct KeyFinder {
  std::string_view wanted;
  int32_t* value = nullptr;
  int min = 0, max = 0;

  void integer(std::string_view name, int32_t& v, int lo, int hi) {
    if (name == wanted) value = &v, min = lo, max = hi;
  }
  void integer(std::string_view name, int32_t& v, int lo, int hi, int, std::string_view) { integer(name, v, lo, hi); }
  void choice(std::string_view, int32_t&, std::initializer_list<std::string_view>) {}
  void one_of(std::string_view, int32_t&, std::initializer_list<std::string_view>) {}
  void per(auto&&...) {}
  void block(auto&&...) {}
  void tile(auto&&...) {}
  void reals(auto&&...) {}
};

// The scale key of the format that `spec` holds; without a value where it has none.
KeyFinder find_scale(QuantSpec& spec) {
  const auto find = [](auto& format) {
    KeyFinder finder;
    if constexpr (requires { format.scale_key; }) {
      finder.wanted = format.scale_key;
      format.describe(finder);
    }
    return finder;
  };
#define MPQ_CASE(name, Type) \
  case Format::name:         \
    return find(spec.name);
  switch (spec.format) { MPQ_FORMATS(MPQ_CASE) }
#undef MPQ_CASE
  __builtin_unreachable();
}

template <class F>
std::string signature(std::string_view name);

template <class F>
F parse_keys(std::string_view name, std::string_view keys) {
  F format{};
  Parser parser(name, keys, signature<F>);
  format.describe(parser);
  const char* problem = nullptr;
  if constexpr (requires { format.problem(); }) problem = format.problem();
  parser.finish(problem);
  return format;
}

template <class F>
std::vector<KeyInfo> list_keys(std::string_view name) {
  F example = parse_keys<F>(name, parse_call(F::samples[0]).keys);  // computed defaults need values to work on
  Lister lister;
  example.describe(lister);
  return lister.keys;
}

template <class F>
std::string signature(std::string_view name) {
  std::vector<std::string> parts;
  for (const KeyInfo& k : list_keys<F>(name)) {
    const std::string key = fmt::format("{}={}", k.name, k.allowed);
    parts.push_back(k.fallback.empty() ? key : "[" + key + "]");
  }
  return fmt::format("{}({})", name, join(parts, ", "));
}

std::string_view name_of(Format format) {
#define MPQ_NAME(name, Type) #name,
  static constexpr std::string_view names[] = {MPQ_FORMATS(MPQ_NAME)};
#undef MPQ_NAME
  return names[static_cast<int>(format)];
}

}  // namespace

bool operator==(const QuantSpec& a, const QuantSpec& b) {
  if (a.format != b.format) return false;
#define MPQ_CASE(name, Type) \
  case Format::name:         \
    return a.name == b.name;
  switch (a.format) { MPQ_FORMATS(MPQ_CASE) }
#undef MPQ_CASE
  __builtin_unreachable();
}

QuantSpec parse_format(std::string_view text) {
  const auto [given, keys] = parse_call(text);
  QuantSpec spec;
#define MPQ_PARSE(name, Type)                  \
  if (given == #name) {                        \
    spec.format = Format::name;                \
    spec.name = parse_keys<Type>(#name, keys); \
    return spec;                               \
  }
  MPQ_FORMATS(MPQ_PARSE)
#undef MPQ_PARSE
  std::vector<std::string> known;
  for (const FormatInfo& f : format_list()) known.emplace_back(f.name);
  throw UserError(fmt::format("unknown format \"{}\"", given), "known formats: " + join(known, ", "));
}

std::string to_text(const QuantSpec& spec) {
  if (spec.format == Format::none) return "none";
  Printer printer;
  visit(spec, [&](auto format) { format.describe(printer); });
  return fmt::format("{}({})", name_of(spec.format), join(printer.keys, ","));
}

double bits_per_value(const QuantSpec& spec, int64_t rows, int64_t cols) {
  const double values = static_cast<double>(rows) * static_cast<double>(cols);
  if (values == 0) return 0;
  return visit(spec, [&](const auto& format) {
    double shared = 32.0 * trained_count(spec);
    if constexpr (TileFormat<std::remove_cvref_t<decltype(format)>>)
      shared += static_cast<double>(format.tile_bits()) * format.tiles(Role::weight, {2, {rows, cols}}).count();
    if constexpr (requires { format.tensor_bits(); }) shared += format.tensor_bits();
    return format.bits() + shared / values;
  });
}

std::optional<ScaleKey> scale_key(const QuantSpec& spec) {
  QuantSpec copy = spec;
  const KeyFinder found = find_scale(copy);
  if (!found.value) return {};
  return ScaleKey{found.wanted, found.min, found.max};
}

QuantSpec with_scale(QuantSpec spec, int value) {
  const KeyFinder found = find_scale(spec);
  check(found.value && value >= found.min && value <= found.max, "{}: scale {}", to_text(spec), value);
  *found.value = value;
  return spec;
}

void initial_trained(const QuantSpec& spec, float* trained) {
  visit(spec, [&](const auto& format) {
    if constexpr (TrainedFormat<std::remove_cvref_t<decltype(format)>>) format.initial_trained(trained);
  });
}

std::vector<FormatInfo> format_list() {
#define MPQ_INFO(name, Type) \
  {#name, Type::summary, list_keys<Type>(#name), {std::begin(Type::samples), std::end(Type::samples)}},
  return {MPQ_FORMATS(MPQ_INFO)};
#undef MPQ_INFO
}

std::string_view to_text(Reach reach) {
  static constexpr std::string_view names[] = {"element", "row", "sequence"};
  return names[static_cast<int>(reach)];
}

}  // namespace mpq
