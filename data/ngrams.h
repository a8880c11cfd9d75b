// Words and their n-grams as sparse features: which of a vocabulary's n-grams a text holds, not how often.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mpq {

// Calls on_word for each word: lower case, accents stripped, punctuation cut off as words of its own, as BERT's
// normalizer does it; but an apostrophe between letters stays ("don't"), and a line break <br /> is a space.
void for_each_word_of(std::string_view text, const std::function<void(const std::string& word)>& on_word);

// Rows of ones: row r has the features features[starts[r] .. starts[r + 1]), ascending.
struct SparseRows {
  std::vector<int64_t> starts{0};  // [rows + 1]
  std::vector<int32_t> features;

  int64_t row_count() const { return static_cast<int64_t>(starts.size()) - 1; }
  std::span<const int32_t> row(int64_t r) const {
    return std::span(features).subspan(static_cast<size_t>(starts[r]), static_cast<size_t>(starts[r + 1] - starts[r]));
  }
};

// The n-grams that enough texts hold. An n-gram is a key: 21 bits a word, the last one lowest, words numbered from 1 in
// alphabetical order; features are numbered in the order of the keys.
class Ngrams {
 public:
  static constexpr int max_order = 3;

  // N-grams of 1 to `order` words (up to max_order) that at least `min_count` of the texts hold. UserError for more
  // than 2^21 - 1 such words or 2^31 - 1 such n-grams, and for none.
  Ngrams(std::span<const std::string> texts, int order, int64_t min_count);
  // As saved. `words` alphabetical, `keys` ascending, all different; UserError, naming `where`, otherwise.
  Ngrams(std::vector<std::string> words, std::vector<int64_t> keys, int order, const std::string& where);

  int64_t feature_count() const { return static_cast<int64_t>(keys_.size()); }
  const std::vector<std::string>& words() const { return words_; }
  const std::vector<int64_t>& keys() const { return keys_; }
  int order() const { return order_; }
  std::string text_of(int64_t feature) const;  // "not very good"

  SparseRows features_of(std::span<const std::string> texts) const;

 private:
  void number_words();
  std::vector<int64_t> keys_of(std::string_view text) const;  // ascending, each once

  int order_;
  std::vector<std::string> words_;  // word of number i + 1
  std::vector<int64_t> keys_;
  std::unordered_map<std::string, int64_t> number_of_;
};

}  // namespace mpq
