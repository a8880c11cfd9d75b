#include "data/charsmap.h"

#include <cstring>

#include "base/error.h"
#include "data/utf8.h"

namespace mpq {
namespace {

// A unit of the double array: label in the low byte, then whether a value hangs below, then the offset to the children.
bool has_value(uint32_t unit) { return unit >> 8 & 1; }
uint32_t label_of(uint32_t unit) { return unit & 0x800000FFu; }
uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 1u << 9) >> 6); }
uint32_t value_of(uint32_t unit) { return unit & 0x7FFFFFFFu; }

}  // namespace

Charsmap::Charsmap(std::string_view blob) {
  uint32_t size = 0;
  if (blob.size() >= sizeof size) std::memcpy(&size, blob.data(), sizeof size);
  if (size == 0 || size % 4 != 0 || size > blob.size() - sizeof size || blob.back() != '\0')
    throw UserError("the sentencepiece model's normalization table is damaged");
  units_.resize(size / 4);
  std::memcpy(units_.data(), blob.data() + sizeof size, size);
  replacements_ = blob.substr(sizeof size + size);
}

std::optional<uint32_t> Charsmap::find(std::string_view character) const {
  const auto unit_at = [&](size_t i) { return i < units_.size() ? units_[i] : 0; };
  size_t node = offset_of(unit_at(0));
  for (unsigned char byte : character) {
    node ^= byte;
    const uint32_t unit = unit_at(node);
    if (label_of(unit) != byte) return std::nullopt;
    node ^= offset_of(unit);
    if (has_value(unit)) return value_of(unit_at(node));
  }
  return std::nullopt;
}

std::string Charsmap::normalize(std::string_view text) const {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    next_code_point(text, at);
    const std::string_view character = text.substr(begin, at - begin);
    const auto found = find(character);
    if (found && *found < replacements_.size())
      out += replacements_.c_str() + *found;
    else
      out += character;
  }
  return out;
}

}  // namespace mpq
