#include "quant/linear_spec.h"

#include <fmt/format.h>

#include <map>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "quant/spec_text.h"

namespace mpq {

// x, w and b alike, unless the family says otherwise.
template <class F>
static std::string linear_of(std::string_view name) {
  if constexpr (requires { F::linear; })
    return std::string(F::linear);
  else
    return fmt::format("x={0}(%);w={0}(%);b={0}(%)", name);
}

std::span<const Family> families() {
#define MPQ_FAMILY(name, Type) {#name, Type::summary, linear_of<Type>(#name), Type::choices},
  static const std::vector<Family> all = {MPQ_FORMATS(MPQ_FAMILY) MPQ_MORE_FAMILIES(MPQ_FAMILY)};
#undef MPQ_FAMILY
  return all;
}

const Family& find_family(std::string_view name) {
  for (const Family& f : families())
    if (f.name == name) return f;
  std::vector<std::string> known;
  for (const Family& f : families()) known.emplace_back(f.name);
  throw UserError(fmt::format("unknown family \"{}\"", name), "known families: " + join(known, ", "));
}

static std::string fill_in(std::string_view linear, std::string_view keys) {
  std::string text;
  for (char c : linear) c == '%' ? void(text.append(keys)) : text.push_back(c);
  return text;
}

static LinearText read_spelled_out(std::string_view text) {
  const auto fail = [&](std::string_view why) {
    throw UserError(fmt::format("\"{}\": {}", text, why), "write x=FORMAT;w=FORMAT;b=FORMAT[;y=FORMAT]");
  };
  LinearText linear;
  struct Operand {
    std::string_view name;
    std::string* slot;
    bool given = false;
  } operands[] = {{"x", &linear.x}, {"w", &linear.w}, {"b", &linear.b}, {"y", &linear.y}};
  for (std::string_view part : split(text, ';')) {
    const size_t equals = part.find('=');
    const std::string_view name = trim(part.substr(0, equals));
    Operand* operand = nullptr;
    for (Operand& o : operands)
      if (o.name == name) operand = &o;
    if (equals == std::string_view::npos || !operand) fail(fmt::format("unknown operand \"{}\"", name));
    if (operand->given) fail(fmt::format("operand {} is given twice", name));
    *operand->slot = trim(part.substr(equals + 1));
    operand->given = true;
  }
  for (const Operand& o : operands)
    if (!o.given && o.name != "y") fail(fmt::format("operand {} is missing", o.name));
  return linear;
}

static LinearSpec parse(const LinearText& text) {
  return {parse_format(text.x), parse_format(text.w), parse_format(text.b), parse_format(text.y)};
}

LinearText spell_out(std::string_view text) {
  text = trim(text);
  if (text.find(';') != std::string_view::npos || text.starts_with("x=")) return read_spelled_out(text);
  const auto [name, keys] = parse_call(text);
  const Family& family = find_family(name);
  if (!keys.empty() && family.linear.find('%') == std::string::npos)
    throw UserError(fmt::format("family {} takes no keys", name), fmt::format("write {}", name));
  return read_spelled_out(fill_in(family.linear, keys));
}

LinearSpec parse_linear_spec(std::string_view text) { return parse(spell_out(text)); }

// The keys with which the family gives this spec, if it does.
static std::optional<std::string> keys_in_family(const Family& family, const LinearSpec& spec) {
  std::string keys;
  for (std::string_view part : split(family.linear, ';')) {
    if (part.find('%') == std::string_view::npos) continue;
    const std::string text = to_text(part.starts_with("x=") ? spec.x : spec.w);
    const Call operand = parse_call(text);
    if (operand.name != parse_call(part.substr(2)).name) return {};
    keys = operand.keys;
    break;
  }
  if (parse(read_spelled_out(fill_in(family.linear, keys))) != spec) return {};
  return keys;
}

std::string to_text(const LinearSpec& spec) {
  for (const Family& family : families())
    if (const auto keys = keys_in_family(family, spec))
      return family.name == "none" ? "none" : fmt::format("{}({})", family.name, *keys);
  std::string text = fmt::format("x={};w={};b={}", to_text(spec.x), to_text(spec.w), to_text(spec.b));
  if (spec.y.format != Format::none) text += ";y=" + to_text(spec.y);
  return text;
}

double bits_per_weight(const LinearSpec& spec, int64_t rows, int64_t cols) {
  return bits_per_value(spec.w, rows, cols);
}

std::vector<QuantSpec> known_formats() {
  std::map<std::string, QuantSpec> formats;
  const auto add = [&](const QuantSpec& spec) { formats.emplace(to_text(spec), spec); };
  for (const FormatInfo& format : format_list())
    for (std::string_view text : format.samples) add(parse_format(text));
  for (const Family& family : families())
    for (std::string_view text : family.choices) {
      const LinearSpec spec = parse_linear_spec(text);
      add(spec.x), add(spec.w), add(spec.b);
    }
  std::vector<QuantSpec> specs;
  for (const auto& [text, spec] : formats) specs.push_back(spec);
  return specs;
}

}  // namespace mpq
