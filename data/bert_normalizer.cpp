#include "data/bert_normalizer.h"

#include <vector>

namespace mpq {
namespace {

// Every step-th code point of [first, last] is of this kind and becomes itself + delta.
struct Range {
  uint32_t first, last;
  uint8_t step;
  CharKind kind;
  int32_t delta;
};

// A letter that decomposes into several.
struct Sequence {
  uint32_t code_point;
  char32_t text[4];
};

using enum CharKind;
#include "data/bert_normalizer_table.inc"

constexpr uint32_t kCodePoints = 0x110000;
constexpr uint32_t kIsSequence = 1u << 31;

// One word a code point: 0 = a word character that stays as it is (so untouched pages cost nothing);
// kIsSequence | index into kSequences; or kind << 24 | (replacement + 1).
struct Table {
  std::vector<uint32_t> entry = std::vector<uint32_t>(kCodePoints);
  Table() {
    for (const Range& r : kRanges)
      for (uint32_t c = r.first; c <= r.last; c += r.step)
        entry[c] = static_cast<uint32_t>(r.kind) << 24 | (c + static_cast<uint32_t>(r.delta) + 1);
    for (uint32_t i = 0; i < std::size(kSequences); ++i) entry[kSequences[i].code_point] = kIsSequence | i;
  }
};

bool is_hangul_syllable(char32_t c) { return c >= 0xAC00 && c < 0xAC00 + 11172; }

// Arithmetic decomposition, Unicode 3.12.
NormalizedChar split_hangul(char32_t c) {
  const char32_t s = c - 0xAC00, tail = s % 28;
  return {Word, static_cast<uint8_t>(tail ? 3 : 2), {0x1100 + s / 588, 0x1161 + s % 588 / 28, 0x11A7 + tail}};
}

NormalizedChar word_of(const Sequence& sequence) {
  NormalizedChar out{Word, 0, {}};
  for (char32_t c : sequence.text)
    if (c) out.text[out.size++] = c;
  return out;
}

}  // namespace

NormalizedChar normalize_char(char32_t c) {
  static const Table table;
  if (is_hangul_syllable(c)) return split_hangul(c);
  const uint32_t entry = table.entry[c < kCodePoints ? c : 0xFFFD];
  if (entry == 0) return {Word, 1, {c}};
  if (entry & kIsSequence) return word_of(kSequences[entry & ~kIsSequence]);
  const auto kind = static_cast<CharKind>(entry >> 24);
  if (kind == Drop || kind == Space) return {kind, 0, {}};
  return {kind, 1, {(entry & 0xFFFFFF) - 1}};
}

}  // namespace mpq
