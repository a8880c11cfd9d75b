#include "data/dataset.h"

#include <algorithm>

#include "base/error.h"
#include "base/sha256.h"
#include "base/text.h"
#include "data/choose_tokenizer.h"
#include "data/source.h"
#include "data/splits.h"
#include "data/token_table.h"

namespace mpq {
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
