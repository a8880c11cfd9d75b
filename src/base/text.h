// Text: splitting, strict number parsing, UTF-8 checks.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mpq {

std::vector<std::string_view> split(std::string_view text, char separator);  // "a,,b" -> a, "", b
std::string_view trim(std::string_view text);                                // ASCII spaces at both ends
std::string join(const std::vector<std::string>& parts, std::string_view separator);

// The whole text is a number of that kind, or nothing.
std::optional<int64_t> parse_int(std::string_view text);
std::optional<double> parse_double(std::string_view text);

// Offset of the first byte that breaks UTF-8 (RFC 3629: no overlong forms, no surrogates), or nothing.
std::optional<size_t> find_invalid_utf8(std::string_view text);

std::string human_bytes(uint64_t bytes);    // 1.5 GiB
std::string human_seconds(double seconds);  // 2 min 05 s

// 64-bit FNV-1a: names cache files; not for anything hostile.
uint64_t hash64(std::string_view bytes, uint64_t start = 0xcbf29ce484222325ull);

}  // namespace mpq
