// Reads a hostile file's little-endian bytes from front to back: never past their end.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/error.h"

namespace mpq {

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes, uint64_t begin = 0) : bytes_(bytes) { skip(begin); }

  size_t at() const { return at_; }
  size_t left() const { return bytes_.size() - at_; }

  // The next `size` bytes. UserError if fewer are left.
  std::span<const std::byte> take(uint64_t size) {
    if (size > left()) throw UserError(fmt::format("{} bytes expected at {}, the end is {} away", size, at_, left()));
    at_ += size;
    return bytes_.subspan(at_ - size, size);
  }
  void skip(uint64_t size) { take(size); }
  std::string_view text(uint64_t size) {
    const auto bytes = take(size);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  // An unsigned integer of `width` <= 8 bytes.
  uint64_t number(int width) {
    uint64_t value = 0;
    const auto bytes = take(width);
    for (int i = width - 1; i >= 0; --i) value = value << 8 | static_cast<uint64_t>(bytes[i]);
    return value;
  }
  // Up to the next '\n', which is read and not returned. UserError if there is none.
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_, left());
    const size_t end = rest.find('\n');
    if (end == rest.npos) throw UserError(fmt::format("the line at byte {} does not end", at_));
    at_ += end + 1;
    return rest.substr(0, end);
  }

 private:
  std::span<const std::byte> bytes_;
  size_t at_ = 0;
};

}  // namespace mpq
