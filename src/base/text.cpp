#include "base/text.h"

#include <fmt/format.h>

#include <charconv>

namespace mpq {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view spaces = " \t\r\n";
  const size_t first = text.find_first_not_of(spaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(spaces) - first + 1);
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  return fmt::format("{}", fmt::join(parts, separator));
}

namespace {
template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}
}  // namespace

std::optional<int64_t> parse_int(std::string_view text) { return parse_number<int64_t>(text); }
std::optional<double> parse_double(std::string_view text) { return parse_number<double>(text); }

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  for (size_t i = 0; i < text.size();) {
    const unsigned a = byte(i), b = byte(i + 1);
    size_t tail = 0;
    bool ok = true;
    if (a < 0x80)
      tail = 0;
    else if (a >= 0xC2 && a <= 0xDF)
      tail = 1;
    else if (a >= 0xE0 && a <= 0xEF) {
      tail = 2;
      ok = !(a == 0xE0 && b < 0xA0) && !(a == 0xED && b > 0x9F);
    } else if (a >= 0xF0 && a <= 0xF4) {
      tail = 3;
      ok = !(a == 0xF0 && b < 0x90) && !(a == 0xF4 && b > 0x8F);
    } else
      ok = false;
    for (size_t k = 1; ok && k <= tail; ++k) ok = (byte(i + k) & 0xC0) == 0x80;
    if (!ok) return i;
    i += tail + 1;
  }
  return std::nullopt;
}

std::string human_bytes(uint64_t bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) value /= 1024, ++unit;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
}

uint64_t hash64(std::string_view bytes, uint64_t start) {
  uint64_t h = start;
  for (unsigned char c : bytes) h = (h ^ c) * 0x100000001b3ull;
  return h;
}

}  // namespace mpq
