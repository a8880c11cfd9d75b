// Folds for cross-fitting: what is said of a row comes from a model that saw neither its group nor its text.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace mpq {

struct Folds {
  std::vector<int> fold_of_row;              // [rows]
  std::vector<std::vector<int64_t>> others;  // [folds], the rows to train on for the rows of a fold, ascending
};

// Groups are dealt to the folds by their hash, each to the smallest fold so far; a text that other folds hold too is
// left out of the training rows for its fold. UserError for fewer groups than folds.
Folds make_folds(std::span<const uint64_t> groups, std::span<const uint64_t> texts, int folds);

}  // namespace mpq
