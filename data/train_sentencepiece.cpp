#include <sentencepiece_trainer.h>

#include <unordered_map>

#include "base/error.h"
#include "data/unigram.h"

namespace mpq {
namespace {

// The texts as the tokenizer will see them, with single spaces between the words.
class NormalizedTexts final : public sentencepiece::SentenceIterator {
 public:
  explicit NormalizedTexts(const std::vector<std::string_view>& texts) : texts_(texts) { read(); }
  bool done() const override { return next_ == texts_.size(); }
  void Next() override {
    ++next_;
    read();
  }
  const std::string& value() const override { return value_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  void read() {
    if (done()) return;
    value_.clear();
    for_each_word(albert_normalize(texts_[next_]), [&](std::string_view word) {
      if (!value_.empty()) value_ += ' ';
      value_ += word;
    });
  }

  const std::vector<std::string_view>& texts_;
  size_t next_ = 0;
  std::string value_;
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
  NormalizedTexts iterator(texts);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &iterator, &model);
  if (!status.ok())
    throw UserError(fmt::format("cannot train a sentencepiece model of {} pieces on {} texts: {}", vocab_size,
                                texts.size(), status.ToString()),
                    "more text, or another number of pieces (sentencepiece:N)");
  return Unigram::from_model_bytes(std::move(model));
}

}  // namespace mpq
