#include "data/wordpiece.h"

#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/text.h"
#include "data/bert_normalizer.h"
#include "data/tokenizer_files.h"
#include "data/utf8.h"

namespace mpq {
namespace {

constexpr std::string_view kContinuation = "##";

// ASCII needs no decoding: kind and lower-case character by byte.
struct AsciiTable {
  std::array<CharKind, 128> kind;
  std::array<char, 128> lower;
  AsciiTable() {
    for (unsigned c = 0; c < 128; ++c) {
      const NormalizedChar n = normalize_char(c);
      kind[c] = n.kind;
      lower[c] = static_cast<char>(n.text[0]);
    }
  }
};

const AsciiTable& ascii() {
  static const AsciiTable table;
  return table;
}

}  // namespace

// The word being read. It stops storing once it is too long to be matched, so its size is bounded.
class WordPiece::Word {
 public:
  Word(const WordPiece& tokenizer, std::vector<int32_t>& ids)
      : tokenizer_(tokenizer), ids_(ids), bytes_(static_cast<size_t>(tokenizer.max_word_chars_) * 4 + 4) {}

  void add_ascii(char c) {
    if (++chars_ <= tokenizer_.max_word_chars_) bytes_[size_++] = c;
  }
  void add(char32_t c) {
    if (++chars_ <= tokenizer_.max_word_chars_) size_ += put_code_point(c, bytes_.data() + size_);
  }
  void end() {
    if (chars_ == 0) return;
    if (chars_ > tokenizer_.max_word_chars_)
      ids_.push_back(tokenizer_.special_.unk);
    else
      tokenizer_.append_word({bytes_.data(), size_}, ids_);
    chars_ = 0, size_ = 0;
  }

 private:
  const WordPiece& tokenizer_;
  std::vector<int32_t>& ids_;
  std::vector<char> bytes_;
  size_t size_ = 0;
  int64_t chars_ = 0;
};

WordPiece::WordPiece(std::vector<std::string> tokens, int max_word_chars)
    : tokens_(std::move(tokens)), max_word_chars_(max_word_chars) {
  for (int32_t id = 0; id < vocab_size(); ++id) {
    const std::string& token = tokens_[static_cast<size_t>(id)];
    const int32_t node = trie_.walk(Trie::kRoot, token);
    if (node != Trie::kNone && trie_.value(node) != Trie::kNone)
      throw UserError(
          fmt::format("the vocabulary repeats the token \"{}\" (ids {} and {})", token, trie_.value(node), id));
    trie_.add(token, id);
  }
  const auto id_of = [&](const char* token) {
    const int32_t node = trie_.walk(Trie::kRoot, token);
    if (node == Trie::kNone || trie_.value(node) == Trie::kNone)
      throw UserError(fmt::format("the vocabulary lacks the token {}", token),
                      "a WordPiece vocabulary holds [PAD], [UNK], [CLS], [SEP] and [MASK]");
    special_tokens_.add(token, trie_.value(node));
    return trie_.value(node);
  };
  special_ = {.pad = id_of("[PAD]"),
              .unk = id_of("[UNK]"),
              .cls = id_of("[CLS]"),
              .sep = id_of("[SEP]"),
              .mask = id_of("[MASK]")};
  continuation_ = trie_.walk(Trie::kRoot, kContinuation);
}

std::shared_ptr<WordPiece> WordPiece::from_vocab_file(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  std::vector<std::string> tokens;
  for (std::string_view line : split(text, '\n')) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    tokens.emplace_back(line);
  }
  if (tokens.back().empty()) tokens.pop_back();
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i].empty() || find_invalid_utf8(tokens[i]))
      throw UserError(fmt::format("line {} is {}", i + 1, tokens[i].empty() ? "empty" : "not UTF-8"),
                      "a vocabulary holds one token a line");
  return std::make_shared<WordPiece>(std::move(tokens));
}

void WordPiece::append_ids(std::string_view text, std::vector<int32_t>& ids) const {
  special_tokens_.split(
      text, [&](std::string_view part) { append_text(part, ids); }, [&](int32_t id) { ids.push_back(id); });
}

void WordPiece::append_text(std::string_view text, std::vector<int32_t>& ids) const {
  const AsciiTable& table = ascii();
  Word word(*this, ids);
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 128 && table.kind[byte] == CharKind::Word) {
      word.add_ascii(table.lower[byte]);
      ++at;
      continue;
    }
    const NormalizedChar c = normalize_char(next_code_point(text, at));
    if (c.kind == CharKind::Drop) continue;
    if (c.kind != CharKind::Word) word.end();
    for (int i = 0; i < c.size; ++i) word.add(c.text[i]);
    if (c.kind != CharKind::Word) word.end();
  }
  word.end();
}

void WordPiece::append_word(std::string_view word, std::vector<int32_t>& ids) const {
  const size_t first = ids.size();
  for (int32_t start = Trie::kRoot; !word.empty(); start = continuation_) {
    int32_t longest = Trie::kNone, node = start;
    size_t length = 0;
    for (size_t i = 0; i < word.size() && node != Trie::kNone; ++i) {
      node = trie_.child(node, static_cast<unsigned char>(word[i]));
      if (node != Trie::kNone && trie_.value(node) != Trie::kNone) longest = trie_.value(node), length = i + 1;
    }
    if (longest == Trie::kNone) {
      ids.resize(first);
      ids.push_back(special_.unk);
      return;
    }
    ids.push_back(longest);
    word.remove_prefix(length);
  }
}

std::string WordPiece::fingerprint() const {
  Sha256 hash;
  hash.update(fmt::format("wordpiece uncased {}\n", max_word_chars_));
  for (const std::string& token : tokens_) hash.update(token).update("\n");
  for (const auto& [token, id] : special_tokens_.all()) hash.update(fmt::format("{}={}\n", token, id));
  return hash.hex();
}

std::string WordPiece::tokenizer_json() const {
  using nlohmann::json;
  json vocab;
  for (int32_t id = 0; id < vocab_size(); ++id) vocab[tokens_[static_cast<size_t>(id)]] = id;
  const json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added_tokens_json(special_tokens_)},
                     {"normalizer",
                      {{"type", "BertNormalizer"},
                       {"clean_text", true},
                       {"handle_chinese_chars", true},
                       {"strip_accents", nullptr},
                       {"lowercase", true}}},
                     {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
                     {"post_processor", template_processing_json(*this)},
                     {"decoder", {{"type", "WordPiece"}, {"prefix", kContinuation}, {"cleanup", true}}},
                     {"model",
                      {{"type", "WordPiece"},
                       {"unk_token", "[UNK]"},
                       {"continuing_subword_prefix", kContinuation},
                       {"max_input_chars_per_word", max_word_chars_},
                       {"vocab", std::move(vocab)}}}};
  return file.dump(2) + "\n";
}

void WordPiece::save(const std::filesystem::path& folder, int max_tokens) const {
  std::call_once(first_save_, [&] { json_ = tokenizer_json(); });
  write_file_atomic(folder / "tokenizer.json", json_);
  write_file_atomic(folder / "vocab.txt", join(tokens_, "\n") + "\n");
  write_tokenizer_config(*this, folder, "BertTokenizer", max_tokens,
                         {{"do_lower_case", true}, {"strip_accents", nullptr}, {"tokenize_chinese_chars", true}});
}

}  // namespace mpq
