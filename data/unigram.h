// The unigram tokenizer of sentencepiece, with ALBERT's conventions: ids equal to Hugging Face's AlbertTokenizer.
// libsentencepiece trains models and checks those it is given; the search for the best pieces is our own, in double
// precision as in Hugging Face's tokenizers (Kudo 2018, "Subword Regularization", section 3.2).
#pragma once
#include <string>
#include <vector>

#include "data/charsmap.h"
#include "data/special_tokens.h"
#include "data/tokenizer.h"
#include "data/trie.h"

namespace mpq {

struct UnigramModel {
  struct Piece {
    std::string text;
    double score;  // log probability
  };
  std::vector<Piece> pieces;  // by id
  std::string charsmap;       // sentencepiece's precompiled normalization; empty: none
  std::string file;           // the .model these came from; empty: none
};

class Unigram final : public Tokenizer {
 public:
  // UserError if [CLS], [SEP], <pad>, <unk> or [MASK] is missing.
  explicit Unigram(UnigramModel model);

  static std::shared_ptr<Unigram> from_model_bytes(std::string bytes);  // the content of a .model

  void append_ids(std::string_view text, std::vector<int32_t>& ids) const override;
  int32_t vocab_size() const override { return static_cast<int32_t>(model_.pieces.size()); }
  SpecialIds special() const override { return special_; }
  std::string token(int32_t id) const override { return model_.pieces.at(static_cast<size_t>(id)).text; }
  std::string kind() const override { return "sentencepiece"; }
  void save(const std::filesystem::path& folder, int max_tokens) const override;
  std::string fingerprint() const override;
  const UnigramModel& model() const { return model_; }

 private:
  struct Best;  // the best way to reach a byte of a word
  std::string normalize(std::string_view text) const;
  void append_word(std::string_view word, std::vector<Best>& best, std::vector<int32_t>& ids) const;
  void find_best(std::string_view word, std::vector<Best>& best) const;

  UnigramModel model_;
  SpecialIds special_;
  SpecialTokens special_tokens_;
  Trie trie_;
  Charsmap charsmap_;
  double unknown_score_;
};

}  // namespace mpq
