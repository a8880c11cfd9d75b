#include "data/masking.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/parallel.h"
#include "base/philox.h"

namespace mpq {
namespace {

constexpr uint32_t kMaskStream = 0x6d61736b;  // "mask"

Philox draw_at(uint64_t seed, uint32_t draw, uint64_t document, int64_t place) {
  return philox(static_cast<uint32_t>(place), static_cast<uint32_t>(document), static_cast<uint32_t>(document >> 32),
                draw, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32) ^ kMaskStream);
}

bool continues_word(const std::string& token, bool word_piece) {
  constexpr std::string_view kSpace = "\xe2\x96\x81";  // how sentencepiece begins a word
  return word_piece ? token.starts_with("##") : !token.starts_with(kSpace);
}

int wanted(const MaskOptions& options, int64_t tokens) {
  return std::max(1, static_cast<int>(std::lround(options.share * static_cast<double>(tokens))));
}

}  // namespace

Masker::Masker(const Tokenizer& tokenizer, const MaskOptions& options)
    : options_(options), mask_(tokenizer.special().mask) {
  const SpecialIds s = tokenizer.special();
  const auto size = static_cast<size_t>(tokenizer.vocab_size());
  special_.resize(size);
  for (const int32_t id : {s.pad, s.unk, s.cls, s.sep, s.mask}) special_.at(id) = true;
  for (size_t id = 0; id < size; ++id) {
    const auto token = static_cast<int32_t>(id);
    continues_.push_back(!special_[id] && continues_word(tokenizer.token(token), tokenizer.kind() == "WordPiece"));
    if (!special_[id]) ordinary_.push_back(token);
  }
  if (ordinary_.empty()) throw UserError("the tokenizer has special tokens only", "a vocabulary with words in it");
}

int Masker::most(const MaskOptions& options, int sequence) { return wanted(options, sequence - 2); }

// Words by ascending keys, as long as they fit; if not even the first one does, its beginning.
void Masker::choose(std::span<const int32_t> tokens, uint64_t document, int64_t offset, uint32_t draw, Row& row) const {
  row.words.clear(), row.chosen.clear();
  int maskable = 0;
  bool in_word = false;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int32_t token = tokens[i];
    const bool goes_on = in_word && options_.whole_words && continues_[token];
    in_word = !special_[token];
    if (!in_word) continue;
    ++maskable;
    if (goes_on) {
      ++row.words.back().count;
      continue;
    }
    const auto [w] = draw_at(options_.seed, draw, document, offset + static_cast<int64_t>(i));
    row.words.push_back({uint64_t{w[0]} << 32 | w[1], static_cast<int32_t>(i), 1});
  }
  if (maskable == 0) return;
  int left = wanted(options_, maskable);
  const auto earlier = [](const Word& a, const Word& b) {
    return std::pair(a.key, a.first) < std::pair(b.key, b.first);
  };
  // Of single tokens the first few are taken; a whole word that does not fit makes room for a later one.
  const auto begin = row.words.begin(), end = row.words.end(),
             last = options_.whole_words ? end : begin + std::min<int64_t>(left, end - begin);
  std::nth_element(begin, last, end, earlier);
  std::sort(begin, last, earlier);
  const auto take = [&](const Word& word, int count) {
    for (int32_t i = 0; i < count; ++i) row.chosen.push_back(word.first + i);
    left -= count;
  };
  for (auto word = begin; word != last; ++word)
    if (word->count <= left) take(*word, word->count);
  if (row.chosen.empty()) take(row.words[0], left);
  std::sort(row.chosen.begin(), row.chosen.end());
}

int32_t Masker::replaced(int32_t token, uint64_t document, int64_t place, uint32_t draw) const {
  const auto [w] = draw_at(options_.seed, draw, document, place);
  const float u = to_uniform(w[2]);
  if (u < 0.8f) return mask_;
  if (u >= 0.9f) return token;
  return ordinary_[static_cast<size_t>(uint64_t{w[3]} * ordinary_.size() >> 32)];
}

Split Masker::mask(const Pieces& pieces, uint32_t draw) const {
  Split split = pieces.split;
  constexpr int64_t kChunk = 256;  // rows a task
  const int64_t rows = pieces.count(), tasks = (rows + kChunk - 1) / kChunk;
  std::vector<MaskedTokens> parts(static_cast<size_t>(tasks));
  parallel_for(tasks, [&](int64_t task) {
    MaskedTokens& part = parts[static_cast<size_t>(task)];
    Row row;
    for (int64_t r = task * kChunk; r < std::min(rows, (task + 1) * kChunk); ++r) {
      const uint64_t document = pieces.split.texts[r];
      int32_t* tokens = split.tokens.data() + split.row_starts[r] + 1;  // behind [CLS]
      choose(pieces.split.row(r).subspan(1, pieces.split.row(r).size() - 2), document, pieces.offsets[r], draw, row);
      for (const int32_t i : row.chosen) {
        part.positions.push_back(i + 1);
        part.tokens.push_back(tokens[i]);
        tokens[i] = replaced(tokens[i], document, pieces.offsets[r] + i, draw);
      }
      part.row_starts.push_back(static_cast<int64_t>(row.chosen.size()));
    }
  });
  MaskedTokens& all = split.masked;
  all.row_starts.push_back(0);
  for (const MaskedTokens& part : parts) {
    for (const int64_t count : part.row_starts) all.row_starts.push_back(all.row_starts.back() + count);
    all.positions.insert(all.positions.end(), part.positions.begin(), part.positions.end());
    all.tokens.insert(all.tokens.end(), part.tokens.begin(), part.tokens.end());
  }
  return split;
}

}  // namespace mpq
