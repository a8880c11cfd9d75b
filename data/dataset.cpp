#include "data/dataset.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/text.h"
#include "data/cache.h"
#include "data/source.h"
#include "data/splits.h"
#include "data/token_table.h"
#include "data/unigram.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

void append_rows(Split& split, const TokenTable& table, const RowNumbers& rows, const SpecialIds& special,
                 const DataOptions& options) {
  const auto& starts = table.row_starts;
  const auto length = [&](int64_t r) { return static_cast<size_t>(starts[r + 1] - starts[r]); };
  size_t tokens = split.tokens.size();
  for (int64_t r : rows) tokens += std::min(length(r) + 2, static_cast<size_t>(options.max_tokens));
  split.tokens.reserve(tokens);
  for (int64_t r : rows) {
    append_row(table.tokens.subspan(starts[r], length(r)), special, options.max_tokens, options.truncate, split.tokens);
    split.row_starts.push_back(static_cast<int64_t>(split.tokens.size()));
    split.labels.push_back(table.keys.labels[r]);
    split.texts.push_back(table.keys.texts[r]);
  }
}

// About 4 MB of text, evenly spread: more makes training slow (a minute for IMDb), not the pieces better.
std::vector<std::string_view> sample_texts(const std::vector<Row>& rows) {
  constexpr size_t kBytes = 4 << 20;
  size_t bytes = 0;
  for (const Row& row : rows) bytes += row.text.size();
  const size_t step = std::max<size_t>(1, bytes / kBytes);
  std::vector<std::string_view> texts;
  for (size_t r = 0; r < rows.size(); r += step) texts.push_back(rows[r].text);
  return texts;
}

std::shared_ptr<Tokenizer> open_kept(const std::optional<fs::path>& path) {
  if (!path || !fs::exists(*path)) return nullptr;
  try {
    return open_tokenizer(*path);
  } catch (const UserError& error) {
    log().warn("{}; it is trained again", error.what());
    return nullptr;
  }
}

// The model is kept beside the token caches: training it takes seconds.
std::shared_ptr<Tokenizer> trained_tokenizer(const SplitSource& train, int pieces) {
  const std::string key = sha256_hex(fmt::format("sentencepiece {} {}", pieces, train.key)).substr(0, 32);
  const auto path = cache_file(fmt::format("sentencepiece/{}.model", key));
  if (auto kept = open_kept(path)) return kept;
  const auto rows = train.read();
  log().info("training a tokenizer of {} sentencepieces on {}", pieces, train.name);
  const auto tokenizer = train_sentencepiece(sample_texts(rows), pieces);
  keep_in_cache(path, dynamic_cast<const Unigram&>(*tokenizer).model().file);
  return tokenizer;
}

std::shared_ptr<Tokenizer> choose_tokenizer(const std::string& asked, const Source& source) {
  const std::string name = asked.empty() ? source.default_tokenizer : asked;
  constexpr std::string_view kTrain = "sentencepiece:";
  if (!name.starts_with(kTrain)) return open_tokenizer(name);
  const auto pieces = parse_int(std::string_view(name).substr(kTrain.size()));
  if (!pieces || *pieces < 100 || *pieces > 1'000'000)
    throw UserError(fmt::format("--tokenizer {} is not allowed", name), "sentencepiece:N with N from 100 to 1000000");
  return trained_tokenizer(source.train, static_cast<int>(*pieces));
}

std::string describe(const Dataset& d, const std::string& name) {
  return fmt::format("{}: {} train, {} validation, {} test rows; {} classes ({}); {} tokenizer, {} tokens", name,
                     d.train.row_count(), d.valid.row_count(), d.test.row_count(), d.label_names.size(),
                     join(d.label_names, ", "), d.tokenizer->kind(), d.tokenizer->vocab_size());
}

// The tables of a source, tokenized; empty where the source brings none.
struct TokenTables {
  TokenTable train, valid, test, unlabelled;

  TokenTables(const DataOptions& options, const Source& source, const Tokenizer& tokenizer)
      : train(load_token_table(source.train, tokenizer, nullptr)) {
    const std::vector<std::string>* labels = &train.label_names;
    if (source.valid) valid = load_token_table(*source.valid, tokenizer, labels);
    if (source.test) test = load_token_table(*source.test, tokenizer, labels);
    if (options.unlabelled && source.unlabelled)
      unlabelled = load_token_table(*source.unlabelled, tokenizer, &kNoLabels);
  }
  Tables keys() const { return {train.keys, valid.keys, test.keys, unlabelled.keys, train.label_names}; }
};

std::string fingerprint(const DataOptions& options, const Tokenizer& tokenizer, const SplitRows& rows,
                        const TokenTables& tables) {
  Sha256 hash;
  hash.update(fmt::format("{} {} {} {}\n{}\n", tokenizer.fingerprint(), options.max_tokens,
                          static_cast<int>(options.truncate), options.merge_valid_into_train, rows.fingerprint));
  for (const TokenTable* table : {&tables.train, &tables.valid, &tables.test, &tables.unlabelled})
    hash.update(fmt::format("{:016x}\n", table->checksum));
  hash.update(fmt::format("{}\n", rows.unlabelled.size()));
  return hash.hex();
}

void check_options(const DataOptions& options) {
  if (options.max_tokens < 3)
    throw UserError(fmt::format("--max-tokens {} is too small", options.max_tokens), "at least 3");
}

}  // namespace

void append_row(std::span<const int32_t> ids, const SpecialIds& special, int max_tokens, Truncate truncate,
                std::vector<int32_t>& out) {
  const size_t room = static_cast<size_t>(max_tokens) - 2;
  const size_t tail = ids.size() <= room || truncate == Truncate::Head ? 0 : room - static_cast<size_t>(max_tokens) / 4;
  const size_t head = std::min(ids.size(), room) - tail;
  out.push_back(special.cls);
  out.insert(out.end(), ids.begin(), ids.begin() + static_cast<int64_t>(head));
  out.insert(out.end(), ids.end() - static_cast<int64_t>(tail), ids.end());
  out.push_back(special.sep);
}

Dataset load_dataset(const DataOptions& options) {
  check_options(options);
  const Source source = open_source(options);
  Dataset data;
  data.tokenizer = choose_tokenizer(options.tokenizer, source);

  const TokenTables tables(options, source, *data.tokenizer);
  data.label_names = tables.train.label_names;
  check_labels(data.label_names, source.train.name);
  const SplitRows rows = choose_rows(options, tables.keys(), source.train.name);

  const SpecialIds special = data.tokenizer->special();
  append_rows(data.train, tables.train, rows.train, special, options);
  append_rows(options.merge_valid_into_train ? data.train : data.valid,
              rows.valid_from_train ? tables.train : tables.valid, rows.valid, special, options);
  append_rows(data.test, tables.test, rows.test, special, options);
  append_rows(data.unlabelled, tables.unlabelled, rows.unlabelled, special, options);
  data.description = describe(data, source.name);
  data.fingerprint = fingerprint(options, *data.tokenizer, rows, tables);
  data.splits = rows.fingerprint;
  return data;
}

}  // namespace mpq
