// What a training step gets: which rows, in which order, as one ragged batch.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace mpq {

// B rows without padding. Row b holds tokens[row_starts[b] .. row_starts[b + 1]).
struct Batch {
  std::vector<int32_t> tokens;      // [T]
  std::vector<int32_t> positions;   // [T], from 0 in each row
  std::vector<int32_t> row_starts;  // [B + 1]
  std::vector<int32_t> labels;      // [B]
  std::vector<int64_t> rows;        // [B], row numbers in the split: they key dropout

  // What was masked, where the split says so: ChosenRows of tensor/ops.h, and what stood there.
  std::vector<int32_t> masked_starts, masked_rows, masked_tokens;  // [B + 1] [M] [M]

  // For the embedding's gradient: the positions 0..T-1 sorted by token id, stably, and where each id's run begins.
  std::vector<int32_t> token_order;     // [T]
  std::vector<int32_t> segment_tokens;  // [U], the different ids, ascending
  std::vector<int32_t> segment_starts;  // [U + 1], into token_order

  int64_t token_count() const { return static_cast<int64_t>(tokens.size()); }
  int64_t row_count() const { return static_cast<int64_t>(labels.size()); }
};

Batch make_batch(const Split& split, std::span<const int64_t> rows);

// A permutation of 0..rows-1 that depends on the seed and the epoch only.
std::vector<int64_t> epoch_order(int64_t rows, uint64_t seed, int64_t epoch);

// Cuts each epoch's order into batches; the last one of an epoch may be smaller.
class Loader {
 public:
  Loader(int64_t rows, int64_t batch_rows, uint64_t seed);
  int64_t steps_per_epoch() const { return (rows_ + batch_rows_ - 1) / batch_rows_; }
  std::span<const int64_t> rows(int64_t epoch, int64_t step);  // valid until the next call

 private:
  int64_t rows_, batch_rows_;
  uint64_t seed_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // of epoch_
};

}  // namespace mpq
