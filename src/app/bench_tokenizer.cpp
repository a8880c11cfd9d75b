// mpq bench tokenizer: megabytes of text a second, on one core.
#include <set>

#include "app/bench.h"
#include "base/file.h"
#include "base/text.h"
#include "data/synthetic.h"
#include "data/tokenizer.h"
#include "data/wordpiece.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

// A vocabulary as an untrained WordPiece has it: the special tokens, every character alone and inside a word, and all
// words of the texts but every fifth, which then comes in pieces.
std::shared_ptr<Tokenizer> corpus_wordpiece(const std::vector<std::string>& texts) {
  std::set<std::string> characters, words;
  for (const std::string& text : texts)
    for (std::string_view part : split(text, ' ')) {
      std::string word;
      for (const char c : part)
        if (std::isalnum(static_cast<unsigned char>(c)))
          word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        else
          characters.insert(std::string(1, c));
      for (const char c : word) characters.insert(std::string(1, c)), characters.insert(std::string("##") + c);
      if (word.size() > 1) words.insert(word);
    }
  std::vector<std::string> tokens{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  tokens.insert(tokens.end(), characters.begin(), characters.end());
  size_t i = 0;
  for (const std::string& word : words)
    if (++i % 5 != 0) tokens.push_back(word);
  return std::make_shared<WordPiece>(tokens);
}

std::vector<std::string> read_texts(const BenchContext& context) {
  std::vector<std::string> texts;
  if (context.text.empty()) {
    for (const Row& row : make_synthetic_corpus().train) texts.push_back(row.text);
    return texts;
  }
  const std::string file = read_file(context.text);
  for (std::string_view line : split(file, '\n')) {
    if (const auto at = find_invalid_utf8(line))
      throw UserError(fmt::format("{}: not UTF-8 at byte {} of a line", context.text, *at),
                      "--text takes UTF-8, one text a line");
    if (!line.empty()) texts.emplace_back(line);
  }
  if (texts.empty()) throw UserError(fmt::format("{}: holds no text", context.text), "one text a line");
  return texts;
}

Json measure(const BenchContext& context, const std::string& name, const Tokenizer& tokenizer,
             const std::vector<std::string>& texts) {
  size_t bytes = 0;
  for (const std::string& text : texts) bytes += text.size();
  std::vector<int32_t> ids;
  const Timing t = time_calls(3 * context.budget_s, [&] {
    ids.clear();
    for (const std::string& text : texts) tokenizer.append_ids(text, ids);
  });
  return {{"tokenizer", name},
          {"vocabulary", tokenizer.vocab_size()},
          {"mb_per_s", static_cast<double>(bytes) / t.median * 1e-6},
          {"best_mb_per_s", static_cast<double>(bytes) / t.best * 1e-6},
          {"mtokens_per_s", static_cast<double>(ids.size()) / t.median * 1e-6},
          {"bytes_per_token", static_cast<double>(bytes) / static_cast<double>(ids.size())}};
}

}  // namespace

BenchTables bench_tokenizer(const BenchContext& context) {
  std::vector<std::string> texts = read_texts(context);
  if (context.quick) texts.resize(std::min<size_t>(texts.size(), 500));
  BenchTable table{"tokenizer",
                   fmt::format("one core; {}", context.text.empty() ? "the built-in corpus" : context.text)};
  if (!context.tokenizer.empty()) {
    const auto tokenizer = open_tokenizer(context.tokenizer);
    table.rows.push_back(measure(context, tokenizer->kind() + " of " + context.tokenizer, *tokenizer, texts));
    return {table};
  }
  table.rows.push_back(measure(context, "WordPiece, the text's own words", *corpus_wordpiece(texts), texts));
  const std::vector<std::string_view> some(
      texts.begin(), texts.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(texts.size(), 1000)));
  table.rows.push_back(measure(context, "sentencepiece, trained on the text", *train_sentencepiece(some, 300), texts));
  return {table};
}

}  // namespace mpq
