#include "data/loader.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/philox.h"
#include "tensor/segments.h"

namespace mpq {
namespace {

constexpr uint32_t kShuffleStream = 0x73687566;  // "shuf": keeps these draws apart from dropout's and initialisation's

void add_segments(Batch& batch) {
  const size_t tokens = batch.tokens.size();
  batch.token_order.resize(tokens);
  batch.segment_tokens.resize(tokens);
  batch.segment_starts.resize(tokens + 1);
  const auto count = static_cast<size_t>(
      find_segments(batch.tokens, batch.token_order.data(), batch.segment_tokens.data(), batch.segment_starts.data()));
  batch.segment_tokens.resize(count);
  batch.segment_starts.resize(count + 1);
}

void add_masked(Batch& batch, const Split& split, std::span<const int64_t> rows) {
  const MaskedTokens& masked = split.masked;
  batch.masked_starts.push_back(0);
  for (size_t b = 0; b < rows.size(); ++b) {
    const auto row = static_cast<size_t>(rows[b]);
    for (int64_t i = masked.row_starts[row]; i < masked.row_starts[row + 1]; ++i) {
      batch.masked_rows.push_back(batch.row_starts[b] + masked.positions[static_cast<size_t>(i)]);
      batch.masked_tokens.push_back(masked.tokens[static_cast<size_t>(i)]);
    }
    batch.masked_starts.push_back(static_cast<int32_t>(batch.masked_rows.size()));
  }
}

}  // namespace

Batch make_batch(const Split& split, std::span<const int64_t> rows) {
  Batch batch;
  int64_t tokens = 0;
  for (int64_t r : rows) {
    check(r >= 0 && r < split.row_count(), "row {} of {}", r, split.row_count());
    tokens += split.row_starts[static_cast<size_t>(r) + 1] - split.row_starts[static_cast<size_t>(r)];
  }
  batch.tokens.reserve(static_cast<size_t>(tokens));
  batch.positions.reserve(static_cast<size_t>(tokens));
  batch.rows.assign(rows.begin(), rows.end());
  batch.row_starts.push_back(0);
  for (int64_t r : rows) {
    const auto row = split.row(r);
    batch.tokens.insert(batch.tokens.end(), row.begin(), row.end());
    for (size_t i = 0; i < row.size(); ++i) batch.positions.push_back(static_cast<int32_t>(i));
    batch.row_starts.push_back(static_cast<int32_t>(batch.tokens.size()));
    batch.labels.push_back(split.labels[static_cast<size_t>(r)]);
  }
  if (!split.masked.row_starts.empty()) add_masked(batch, split, rows);
  add_segments(batch);
  return batch;
}

std::vector<int64_t> epoch_order(int64_t rows, uint64_t seed, int64_t epoch) {
  std::vector<std::pair<uint64_t, int64_t>> keyed(static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) {
    const auto [w] = philox(static_cast<uint32_t>(r), static_cast<uint32_t>(r >> 32), static_cast<uint32_t>(epoch),
                            kShuffleStream, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    keyed[static_cast<size_t>(r)] = {uint64_t{w[0]} << 32 | w[1], r};
  }
  std::sort(keyed.begin(), keyed.end());
  std::vector<int64_t> order(keyed.size());
  std::transform(keyed.begin(), keyed.end(), order.begin(), [](const auto& k) { return k.second; });
  return order;
}

Loader::Loader(int64_t rows, int64_t batch_rows, uint64_t seed) : rows_(rows), batch_rows_(batch_rows), seed_(seed) {
  check(rows > 0 && batch_rows > 0, "{} rows in batches of {}", rows, batch_rows);
}

std::span<const int64_t> Loader::rows(int64_t epoch, int64_t step) {
  check(step >= 0 && step < steps_per_epoch(), "step {} of {}", step, steps_per_epoch());
  if (epoch != epoch_) order_ = epoch_order(rows_, seed_, epoch_ = epoch);
  const int64_t first = step * batch_rows_;
  return std::span(order_).subspan(static_cast<size_t>(first),
                                   static_cast<size_t>(std::min(batch_rows_, rows_ - first)));
}

}  // namespace mpq
