// What BERT's uncased normalizer and pre-tokenizer do with a code point: cleaning, lower case, accents stripped,
// spaces around CJK characters, punctuation cut off. Equal to Hugging Face's BertNormalizer + BertPreTokenizer.
#pragma once
#include <cstdint>
#include <string_view>

namespace mpq {

enum class CharKind : uint8_t {
  Word,   // part of a word
  Drop,   // nothing: control and format characters, combining marks
  Space,  // ends a word
  Punct,  // ends a word and is one
  Cjk,    // likewise
};

struct NormalizedChar {
  CharKind kind;
  uint8_t size;  // code points in `text`: 1 to 4 (0 for Drop and Space)
  char32_t text[4];
};

NormalizedChar normalize_char(char32_t c);

}  // namespace mpq
