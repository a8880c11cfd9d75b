// Masks of masked language modelling (Devlin et al. 2018, section 3.1, task 1): of the chosen tokens 80 % become
// [MASK], 10 % another token, 10 % stay.
#pragma once
#include <cstdint>
#include <vector>

#include "data/pieces.h"

namespace mpq {

struct MaskOptions {
  double share = 0.15;       // of a sequence's tokens
  bool whole_words = false;  // a word's tokens are chosen together
  uint64_t seed = 42;
};

class Masker {
 public:
  Masker(const Tokenizer& tokenizer, const MaskOptions& options);

  // The pieces with masks of their own for every `draw` (an epoch). Chosen are, of a piece's n tokens, max(1, share * n
  // rounded), at random; special tokens never. What becomes of a token is drawn by seed, draw, document and position
  // there: it depends neither on how documents were cut nor on which others there are.
  Split mask(const Pieces& pieces, uint32_t draw) const;
  // Tokens chosen of a sequence of that length, at most.
  static int most(const MaskOptions& options, int sequence);

 private:
  struct Word {
    uint64_t key;  // words are chosen by ascending keys
    int32_t first, count;
  };
  struct Row {
    std::vector<Word> words;
    std::vector<int32_t> chosen;
  };
  void choose(std::span<const int32_t> tokens, uint64_t document, int64_t offset, uint32_t draw, Row& row) const;
  int32_t replaced(int32_t token, uint64_t document, int64_t place, uint32_t draw) const;

  MaskOptions options_;
  int32_t mask_;
  std::vector<bool> special_, continues_;  // [V]: is no text; goes on with the word before it
  std::vector<int32_t> ordinary_;          // tokens that are no special ones
};

}  // namespace mpq
