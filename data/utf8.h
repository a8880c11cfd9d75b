// One code point at a time, in and out of UTF-8.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace mpq {

// The code point at text[at]; moves `at` behind it. Broken UTF-8 gives U+FFFD and moves one byte: never out of bounds.
inline char32_t next_code_point(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  const size_t length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 0;
  if (length == 0 || at + length > text.size()) return ++at, 0xFFFD;
  char32_t c = length == 1 ? first : first & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) c = c << 6 | (byte(at + i) & 0x3F);
  at += length;
  return c > 0x10FFFF ? 0xFFFD : c;
}

inline size_t put_code_point(char32_t c, char* out) {
  const auto put = [&](int i, unsigned lead, int shift) { out[i] = static_cast<char>(lead | (c >> shift & 0x3F)); };
  if (c < 0x80) return out[0] = static_cast<char>(c), 1;
  if (c < 0x800) return out[0] = static_cast<char>(0xC0 | c >> 6), put(1, 0x80, 0), 2;
  if (c < 0x10000) return out[0] = static_cast<char>(0xE0 | c >> 12), put(1, 0x80, 6), put(2, 0x80, 0), 3;
  return out[0] = static_cast<char>(0xF0 | c >> 18), put(1, 0x80, 12), put(2, 0x80, 6), put(3, 0x80, 0), 4;
}

inline void append_code_point(char32_t c, std::string& out) {
  char bytes[4];
  out.append(bytes, put_code_point(c, bytes));
}

}  // namespace mpq
