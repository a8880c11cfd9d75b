// What the rules of the splits see of a table of rows: hashes of the texts and groups, and the labels as numbers.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/row.h"

namespace mpq {

struct RowKeys {
  std::span<const uint64_t> texts;   // [rows], hash64 of the text
  std::span<const uint64_t> groups;  // [rows], hash64 of the group, or of the text where there is none
  std::span<const int32_t> labels;   // [rows], into the table's label names

  int64_t row_count() const { return static_cast<int64_t>(labels.size()); }
};

struct OwnedRowKeys {
  std::vector<uint64_t> texts, groups;
  std::vector<int32_t> labels;
  std::vector<std::string> label_names;

  RowKeys view() const { return {texts, groups, labels}; }
};

// `label_names`: the labels allowed, or null to take those of the rows (numbers in their order, else names in
// alphabetical order). UserError, naming `where`, for a label that is not allowed.
OwnedRowKeys row_keys(const std::vector<Row>& rows, const std::vector<std::string>* label_names,
                      const std::string& where);

}  // namespace mpq
