// All rows of one source as token ids: whole, without special tokens; kept in the cache folder and mapped from there.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/row_keys.h"
#include "data/source.h"
#include "data/tokenizer.h"

namespace mpq {

struct TokenTable {
  std::span<const int64_t> row_starts;  // [rows + 1]
  RowKeys keys;                         // labels into label_names
  std::span<const int32_t> tokens;      // [T]
  std::vector<std::string> label_names;
  uint64_t checksum = 0;                // of all of the above
  std::shared_ptr<const void> storage;  // what the spans point into

  int64_t row_count() const { return keys.row_count(); }
};

// From the cache, or read, tokenized and written to the cache; a damaged cache file is replaced, and a cache that
// cannot be written is done without. `label_names`: the labels allowed, or null to take those of the rows (numbers in
// their order, else names in alphabetical order). UserError for a label that is not allowed, and from the readers.
TokenTable load_token_table(const SplitSource& source, const Tokenizer& tokenizer,
                            const std::vector<std::string>* label_names);

}  // namespace mpq
