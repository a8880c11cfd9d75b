#include <sentencepiece_trainer.h>

#include <map>
#include <unordered_map>

#include "base/error.h"
#include "data/albert_normalizer.h"
#include "data/unigram.h"

namespace mpq {
namespace {

// The texts as the tokenizer will see them, with single spaces between the words; then the frequent words once more,
// each with a comma. The trainer considers only pieces that occur in two different words: in a small corpus, where
// "although" has no variant, it would have to spell it.
class TrainingTexts final : public sentencepiece::SentenceIterator {
 public:
  explicit TrainingTexts(const std::vector<std::string_view>& texts) : texts_(texts) { read(); }
  bool done() const override { return done_; }
  void Next() override { read(); }
  const std::string& value() const override { return value_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  void read() {
    value_.clear();
    if (next_ == texts_.size()) {
      done_ = said_variants_;
      said_variants_ = true;
      for (const auto& [word, count] : counts_)
        if (count >= kFrequent) value_ += word + ", ";
      return;
    }
    for_each_word(albert_normalize(texts_[next_++]), [&](std::string_view word) {
      value_.append(value_.empty() ? "" : " ").append(word);
      ++counts_[std::string(word)];
    });
  }

  static constexpr int64_t kFrequent = 20;
  const std::vector<std::string_view>& texts_;
  size_t next_ = 0;
  bool said_variants_ = false, done_ = false;
  std::string value_;
  std::map<std::string, int64_t> counts_;  // sorted: the same texts give the same model
};

}  // namespace

// Ids and pieces as in ALBERT. Digits stand alone, so that no piece ends in "9,": the Python AlbertTokenizer cuts such
// pieces again and the Rust one does not.
std::shared_ptr<Tokenizer> train_sentencepiece(const std::vector<std::string_view>& texts, int vocab_size) {
  const std::unordered_map<std::string, std::string> options = {
      {"model_type", "unigram"},
      {"vocab_size", std::to_string(vocab_size)},
      {"hard_vocab_limit", "false"},
      {"normalization_rule_name", "identity"},
      {"pad_id", "0"},
      {"unk_id", "1"},
      {"bos_id", "-1"},
      {"eos_id", "-1"},
      {"pad_piece", "<pad>"},
      {"unk_piece", "<unk>"},
      {"control_symbols", "[CLS],[SEP],[MASK]"},
      {"split_digits", "true"},
      {"character_coverage", "0.9999"},
      {"num_threads", "1"},
      {"max_sentence_length", "1000000000"},
      {"minloglevel", "2"},
  };
  TrainingTexts iterator(texts);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &iterator, &model);
  if (!status.ok())
    throw UserError(fmt::format("cannot train a sentencepiece model of {} pieces on {} texts: {}", vocab_size,
                                texts.size(), status.ToString()),
                    "more text, or another number of pieces (sentencepiece:N)");
  return Unigram::from_model_bytes(std::move(model));
}

}  // namespace mpq
