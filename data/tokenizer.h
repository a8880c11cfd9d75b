// Texts to token ids: one interface, two kinds (WordPiece as in BERT, sentencepiece as in ALBERT).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mpq {

struct SpecialIds {
  int32_t pad, unk, cls, sep, mask;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Appends the ids of a valid UTF-8 text, without [CLS] and [SEP]. Linear in the text's length. Thread-safe.
  virtual void append_ids(std::string_view text, std::vector<int32_t>& ids) const = 0;
  virtual int32_t vocab_size() const = 0;
  virtual SpecialIds special() const = 0;
  virtual std::string token(int32_t id) const = 0;
  virtual std::string kind() const = 0;  // "WordPiece" or "sentencepiece"

  // Writes into an existing folder the files from which Hugging Face's AutoTokenizer and open_tokenizer() build this
  // tokenizer again. max_tokens is stored as the tokenizer's model_max_length.
  virtual void save(const std::filesystem::path& folder, int max_tokens) const = 0;

  // Equal fingerprints mean equal ids for every text: names token caches.
  virtual std::string fingerprint() const = 0;

  // [CLS] text [SEP]. UserError if the text is not valid UTF-8.
  std::vector<int32_t> encode(std::string_view text) const;
};

// A vocab.txt, a tokenizer.json (WordPiece or Unigram), a sentencepiece .model, or a folder that holds one of them.
// UserError if it is none of these, is damaged, or asks for behaviour that mpq does not have.
std::shared_ptr<Tokenizer> open_tokenizer(const std::filesystem::path& path);

// A unigram model of `vocab_size` pieces, trained in one thread: the same texts in the same order give the same model.
// UserError if the texts are too few for that many pieces.
std::shared_ptr<Tokenizer> train_sentencepiece(const std::vector<std::string_view>& texts, int vocab_size);

}  // namespace mpq
