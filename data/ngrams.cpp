#include "data/ngrams.h"

#include <algorithm>
#include <limits>
#include <map>

#include "base/error.h"
#include "base/parallel.h"
#include "data/bert_normalizer.h"
#include "data/utf8.h"

namespace mpq {
namespace {

constexpr int kBits = 21;
constexpr int64_t kMaxWords = (int64_t{1} << kBits) - 1;
constexpr int64_t kChunk = 256;  // rows a task

int64_t chunks_of(size_t rows) { return (static_cast<int64_t>(rows) + kChunk - 1) / kChunk; }

template <class Use>
void for_each_row_in_chunks(size_t rows, const Use& use) {
  parallel_for(chunks_of(rows), [&](int64_t chunk) {
    const auto end = std::min(static_cast<size_t>((chunk + 1) * kChunk), rows);
    for (auto r = static_cast<size_t>(chunk * kChunk); r < end; ++r) use(chunk, r);
  });
}

// Words with the number of texts that hold them, if those are at least min_count.
std::vector<std::string> frequent_words(std::span<const std::string> texts, int64_t min_count) {
  std::vector<std::unordered_map<std::string, int64_t>> counts(static_cast<size_t>(chunks_of(texts.size())));
  for_each_row_in_chunks(texts.size(), [&](int64_t chunk, size_t r) {
    std::vector<std::string> words;
    for_each_word_of(texts[r], [&](const std::string& word) { words.push_back(word); });
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    for (std::string& word : words) ++counts[chunk][std::move(word)];
  });
  std::map<std::string, int64_t> total;
  for (const auto& chunk : counts)
    for (const auto& [word, count] : chunk) total[word] += count;
  std::vector<std::string> words;
  for (const auto& [word, count] : total)
    if (count >= min_count) words.push_back(word);
  return words;
}

// The keys that occur at least min_count times, ascending, each once.
std::vector<int64_t> frequent_keys(std::vector<int64_t> keys, int64_t min_count) {
  std::sort(keys.begin(), keys.end());
  std::vector<int64_t> frequent;
  for (size_t begin = 0, end; begin < keys.size(); begin = end) {
    for (end = begin; end < keys.size() && keys[end] == keys[begin];) ++end;
    if (static_cast<int64_t>(end - begin) >= min_count) frequent.push_back(keys[begin]);
  }
  return frequent;
}

// Whether the text goes on with a tag <br>, <br/> or <br />; moves `at` behind it.
bool skip_line_break(std::string_view text, size_t& at) {
  for (const std::string_view tag : {"<br />", "<br/>", "<br>"})
    if (text.substr(at).starts_with(tag)) return at += tag.size(), true;
  return false;
}

bool is_letter_at(std::string_view text, size_t at) {
  return at < text.size() && normalize_char(next_code_point(text, at)).kind == CharKind::Word;
}

}  // namespace

void for_each_word_of(std::string_view text, const std::function<void(const std::string& word)>& on_word) {
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) on_word(word);
    word.clear();
  };
  for (size_t at = 0; at < text.size();) {
    if (skip_line_break(text, at)) {
      end_word();
      continue;
    }
    const char32_t c = next_code_point(text, at);
    const NormalizedChar normal = normalize_char(c);
    const bool inside = normal.kind == CharKind::Word || (c == '\'' && !word.empty() && is_letter_at(text, at));
    if (normal.kind == CharKind::Drop) continue;
    if (!inside) end_word();
    for (int i = 0; i < normal.size; ++i) append_code_point(normal.text[i], word);
    if (!inside) end_word();
  }
  end_word();
}

Ngrams::Ngrams(std::span<const std::string> texts, int order, int64_t min_count)
    : order_(order), words_(frequent_words(texts, min_count)) {
  check(order >= 1 && order <= max_order && min_count >= 1, "n-grams of order {}, at least {} times", order, min_count);
  const std::string hint = fmt::format("--min-count above {}", min_count);
  if (static_cast<int64_t>(words_.size()) > kMaxWords)
    throw UserError(fmt::format("{} different words are too many for n-grams", words_.size()), hint);
  number_words();
  std::vector<std::vector<int64_t>> chunk_keys(static_cast<size_t>(chunks_of(texts.size())));
  for_each_row_in_chunks(texts.size(), [&](int64_t chunk, size_t r) {
    const std::vector<int64_t> keys = keys_of(texts[r]);
    chunk_keys[chunk].insert(chunk_keys[chunk].end(), keys.begin(), keys.end());
  });
  std::vector<int64_t> keys;
  for (std::vector<int64_t>& some : chunk_keys) {
    keys.insert(keys.end(), some.begin(), some.end());
    some = {};
  }
  keys_ = frequent_keys(std::move(keys), min_count);
  if (keys_.empty())
    throw UserError(fmt::format("no word is in {} texts of the training split", min_count), "a smaller --min-count");
  if (feature_count() > std::numeric_limits<int32_t>::max() - 1)
    throw UserError(fmt::format("{} different n-grams are too many", keys_.size()), hint);
}

Ngrams::Ngrams(std::vector<std::string> words, std::vector<int64_t> keys, int order, const std::string& where)
    : order_(order), words_(std::move(words)), keys_(std::move(keys)) {
  const auto ascending = [](const auto& v) {
    return std::adjacent_find(v.begin(), v.end(), std::greater_equal()) == v.end();
  };
  const auto word_exists = [&](int64_t key) {
    bool exists = key > 0;
    for (; key > 0; key >>= kBits) {
      const int64_t number = key & kMaxWords;
      exists &= number > 0 && number <= static_cast<int64_t>(words_.size());
    }
    return exists;
  };
  if (order < 1 || order > max_order || static_cast<int64_t>(words_.size()) > kMaxWords || !ascending(words_) ||
      !ascending(keys_) || keys_.empty() || feature_count() > std::numeric_limits<int32_t>::max() - 1 ||
      !std::all_of(keys_.begin(), keys_.end(), word_exists))
    throw UserError(fmt::format("{}: the n-grams are damaged", where), "a folder that mpq baseline wrote");
  number_words();
}

void Ngrams::number_words() {
  number_of_.reserve(words_.size());
  for (const std::string& word : words_) number_of_.emplace(word, static_cast<int64_t>(number_of_.size()) + 1);
}

std::vector<int64_t> Ngrams::keys_of(std::string_view text) const {
  std::vector<int64_t> numbers, keys;  // 0: a rare word, which no frequent n-gram holds
  for_each_word_of(text, [&](const std::string& word) {
    const auto found = number_of_.find(word);
    numbers.push_back(found == number_of_.end() ? 0 : found->second);
  });
  for (size_t first = 0; first < numbers.size(); ++first) {
    int64_t key = 0;
    for (size_t n = 0; n < static_cast<size_t>(order_) && first + n < numbers.size(); ++n) {
      if (numbers[first + n] == 0) break;
      keys.push_back(key = key << kBits | numbers[first + n]);
    }
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

SparseRows Ngrams::features_of(std::span<const std::string> texts) const {
  std::vector<std::vector<int32_t>> rows(texts.size());
  for_each_row_in_chunks(texts.size(), [&](int64_t, size_t r) {
    auto from = keys_.begin();
    for (const int64_t key : keys_of(texts[r])) {
      from = std::lower_bound(from, keys_.end(), key);
      if (from != keys_.end() && *from == key) rows[r].push_back(static_cast<int32_t>(from - keys_.begin()));
    }
    rows[r].shrink_to_fit();
  });
  SparseRows sparse;
  for (const auto& row : rows) {
    sparse.features.insert(sparse.features.end(), row.begin(), row.end());
    sparse.starts.push_back(static_cast<int64_t>(sparse.features.size()));
  }
  return sparse;
}

std::string Ngrams::text_of(int64_t feature) const {
  std::string text;
  for (int64_t key = keys_.at(static_cast<size_t>(feature)); key > 0; key >>= kBits) {
    const std::string& word = words_[static_cast<size_t>(key & kMaxWords) - 1];
    text = text.empty() ? word : word + " " + text;
  }
  return text;
}

}  // namespace mpq
