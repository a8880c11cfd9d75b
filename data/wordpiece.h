// WordPiece as in BERT (uncased): greedy longest match of each word against a vocabulary.
#pragma once
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/special_tokens.h"
#include "data/tokenizer.h"
#include "data/trie.h"

namespace mpq {

class WordPiece final : public Tokenizer {
 public:
  // tokens[id]; UserError if a token is repeated, or one of [PAD] [UNK] [CLS] [SEP] [MASK] is missing.
  explicit WordPiece(std::vector<std::string> tokens, int max_word_chars = 100);

  static std::shared_ptr<WordPiece> from_vocab_file(const std::filesystem::path& path);  // a token a line

  void append_ids(std::string_view text, std::vector<int32_t>& ids) const override;
  int32_t vocab_size() const override { return static_cast<int32_t>(tokens_.size()); }
  SpecialIds special() const override { return special_; }
  std::string token(int32_t id) const override { return tokens_.at(static_cast<size_t>(id)); }
  std::string kind() const override { return "WordPiece"; }
  void save(const std::filesystem::path& folder, int max_tokens) const override;
  std::string fingerprint() const override;

  // A further token that is recognised in raw text (tokenizer.json, "added_tokens"). Not after a save.
  void add_special(std::string token, int32_t id) {
    check(json_.empty(), "token {} comes after a save", token);
    special_tokens_.add(std::move(token), id);
  }

 private:
  class Word;
  void append_text(std::string_view text, std::vector<int32_t>& ids) const;
  void append_word(std::string_view word, std::vector<int32_t>& ids) const;
  std::string tokenizer_json() const;

  std::vector<std::string> tokens_;
  int max_word_chars_;
  SpecialIds special_;
  SpecialTokens special_tokens_;
  Trie trie_;
  int32_t continuation_;  // the trie's node behind "##"
  mutable std::once_flag first_save_;
  mutable std::string json_;  // made once: a search saves many models
};

}  // namespace mpq
