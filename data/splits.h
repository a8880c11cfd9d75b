// Which rows of which table are for training, validation and test: one rule for all that read a data set.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/row_keys.h"

namespace mpq {

using RowNumbers = std::vector<int64_t>;  // of a table, ascending

// What a source brings; a table without rows where it brings none.
struct Tables {
  RowKeys train, valid, test, unlabelled;
  std::vector<std::string> label_names;
};

struct SplitRows {
  RowNumbers train, valid, test, unlabelled;
  bool valid_from_train = false;  // `valid` are rows of the training table; else of the validation table
  std::string fingerprint;        // equal where the same texts with the same labels are in the same splits
};

// UserError for fewer than two; `name` is the training table's.
void check_labels(const std::vector<std::string>& label_names, const std::string& name);

// Validation is the source's own, or whole groups of the training table by their hash, or nothing: `options` says.
// UserError for a share outside (0, 1), and if nothing is left to train on.
SplitRows choose_rows(const DataOptions& options, const Tables& tables, const std::string& name);

}  // namespace mpq
