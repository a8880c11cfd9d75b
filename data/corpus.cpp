#include "data/corpus.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/philox.h"
#include "base/sha256.h"
#include "data/choose_tokenizer.h"
#include "data/source.h"
#include "data/token_table.h"

namespace mpq {
namespace {

constexpr uint32_t kHeldOut = 0x68656c64, kKept = 0x6b657074;  // "held", "kept": two orders of the same hashes

uint64_t rank(uint64_t hash, uint32_t stream) {
  const auto [w] = philox(static_cast<uint32_t>(hash), static_cast<uint32_t>(hash >> 32), 0, 0, stream, 0);
  return uint64_t{w[0]} << 32 | w[1];
}

std::vector<TokenTable> load_tables(const CorpusOptions& options, const Source& source, const Tokenizer& tokenizer) {
  std::vector<TokenTable> tables;
  tables.push_back(load_token_table(source.train, tokenizer, nullptr));
  const std::vector<std::string> labels = tables[0].label_names;
  if (source.valid) tables.push_back(load_token_table(*source.valid, tokenizer, &labels));
  if (source.unlabelled) tables.push_back(load_token_table(*source.unlabelled, tokenizer, &kNoLabels));
  if (options.test && source.test) tables.push_back(load_token_table(*source.test, tokenizer, &labels));
  return tables;
}

struct Text {
  const TokenTable* table;
  int64_t row;
  int64_t tokens() const { return table->row_starts[row + 1] - table->row_starts[row]; }
  uint64_t text() const { return table->keys.texts[row]; }
  uint64_t group() const { return table->keys.groups[row]; }
};

// Those that --rows keeps, in the order of the tables.
std::vector<Text> texts(const std::vector<TokenTable>& tables, int64_t rows) {
  std::vector<Text> all;
  for (const TokenTable& table : tables)
    for (int64_t r = 0; r < table.row_count(); ++r)
      if (const Text text{&table, r}; text.tokens() > 0) all.push_back(text);
  if (rows == 0 || rows >= static_cast<int64_t>(all.size())) return all;
  std::vector<uint64_t> ranks;
  for (const Text& text : all) ranks.push_back(rank(text.text(), kKept));
  std::vector<uint64_t> sorted = ranks;
  std::nth_element(sorted.begin(), sorted.begin() + rows - 1, sorted.end());
  std::vector<Text> kept;
  for (size_t i = 0; i < all.size() && static_cast<int64_t>(kept.size()) < rows; ++i)
    if (ranks[i] <= sorted[rows - 1]) kept.push_back(all[i]);
  return kept;
}

// The groups of the smallest ranks that hold about `share` of the texts.
std::unordered_set<uint64_t> held_out_groups(const std::vector<Text>& texts, double share) {
  std::unordered_map<uint64_t, int64_t> sizes;
  for (const Text& text : texts) ++sizes[text.group()];
  std::vector<std::pair<uint64_t, uint64_t>> order;
  for (const auto& [group, size] : sizes) order.emplace_back(rank(group, kHeldOut), group);
  std::sort(order.begin(), order.end());
  auto wanted = std::llround(share * static_cast<double>(texts.size()));
  std::unordered_set<uint64_t> held_out;
  for (size_t i = 0; i < order.size() && wanted > 0; ++i) {
    held_out.insert(order[i].second);
    wanted -= sizes[order[i].second];
  }
  return held_out;
}

void append(Documents& documents, const Text& text) {
  const auto row = text.table->tokens.subspan(text.table->row_starts[text.row], text.tokens());
  documents.tokens.insert(documents.tokens.end(), row.begin(), row.end());
  documents.starts.push_back(static_cast<int64_t>(documents.tokens.size()));
  documents.hashes.push_back(text.text());
}

std::string fingerprint(const CorpusOptions& options, const Tokenizer& tokenizer,
                        const std::vector<TokenTable>& tables) {
  Sha256 hash;
  hash.update(fmt::format("{} {} {}\n", tokenizer.fingerprint(), options.held_out, options.rows));
  for (const TokenTable& table : tables) hash.update(fmt::format("{:016x}\n", table.checksum));
  return hash.hex();
}

}  // namespace

Corpus load_corpus(const CorpusOptions& options) {
  const Source source = open_source({.data = options.data, .text_column = options.text_column});
  Corpus corpus;
  corpus.tokenizer = choose_tokenizer(options.tokenizer, source);
  const std::vector<TokenTable> tables = load_tables(options, source, *corpus.tokenizer);
  const std::vector<Text> all = texts(tables, options.rows);
  const auto held_out = held_out_groups(all, options.held_out);
  for (const Text& text : all) append(held_out.contains(text.group()) ? corpus.held_out : corpus.train, text);
  if (corpus.train.count() == 0)
    throw UserError(fmt::format("{}: no text is left to train on", source.name), "more texts, or a smaller --held-out");
  corpus.description =
      fmt::format("{}: {} texts of {} tokens, {} texts of {} tokens held out; {} tokenizer, {} tokens", source.name,
                  corpus.train.count(), corpus.train.tokens.size(), corpus.held_out.count(),
                  corpus.held_out.tokens.size(), corpus.tokenizer->kind(), corpus.tokenizer->vocab_size());
  corpus.fingerprint = fingerprint(options, *corpus.tokenizer, tables);
  return corpus;
}

}  // namespace mpq
