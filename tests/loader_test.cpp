#include "data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace mpq {
namespace {

Split ragged_split() {
  Split split;
  for (int32_t r = 0; r < 10; ++r) {
    for (int32_t i = 0; i <= r; ++i) split.tokens.push_back((r * 7919 + i * 104729) % 3000);
    split.row_starts.push_back(static_cast<int64_t>(split.tokens.size()));
    split.labels.push_back(r % 3);
  }
  return split;
}

TEST(EpochOrderTest, IsAPermutationOfItsSeedAndEpoch) {
  auto order = epoch_order(1000, 42, 3);
  EXPECT_EQ(order, epoch_order(1000, 42, 3));
  EXPECT_NE(order, epoch_order(1000, 42, 4));
  EXPECT_NE(order, epoch_order(1000, 43, 3));
  std::sort(order.begin(), order.end());
  for (int64_t i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(EpochOrderTest, IsTheSameOnEveryMachine) {
  EXPECT_EQ(epoch_order(8, 42, 0), (std::vector<int64_t>{0, 2, 7, 1, 6, 3, 5, 4}));
}

// Every row is equally likely at every place: chi-square over 4,000 orders of 5 rows.
TEST(EpochOrderTest, IsFair) {
  double counts[5][5] = {};
  for (uint64_t seed = 0; seed < 4000; ++seed) {
    const auto order = epoch_order(5, seed, 0);
    for (size_t place = 0; place < 5; ++place) ++counts[place][order[place]];
  }
  double chi_square = 0;
  for (const auto& row : counts)
    for (double count : row) chi_square += (count - 800) * (count - 800) / 800;
  EXPECT_LT(chi_square, 39.3);  // 16 degrees of freedom, p = 0.001
}

TEST(LoaderTest, AnEpochGivesEveryRowOnce) {
  Loader loader(10, 4, 1);
  EXPECT_EQ(loader.steps_per_epoch(), 3);
  for (int64_t epoch : {0, 1, 0}) {
    std::vector<int64_t> seen;
    for (int64_t step = 0; step < 3; ++step)
      for (int64_t r : loader.rows(epoch, step)) seen.push_back(r);
    EXPECT_EQ(seen, epoch_order(10, 1, epoch));
  }
  EXPECT_EQ(loader.rows(0, 2).size(), 2u);
}

TEST(BatchTest, ConcatenatesRows) {
  const Split split = ragged_split();
  const std::vector<int64_t> rows = {7, 0, 3};
  const Batch batch = make_batch(split, rows);
  EXPECT_EQ(batch.row_starts, (std::vector<int32_t>{0, 8, 9, 13}));
  EXPECT_EQ(batch.rows, rows);
  for (size_t b = 0; b < rows.size(); ++b) {
    const auto row = split.row(rows[b]);
    EXPECT_EQ(batch.labels[b], split.labels[static_cast<size_t>(rows[b])]);
    for (size_t i = 0; i < row.size(); ++i) {
      const size_t at = static_cast<size_t>(batch.row_starts[b]) + i;
      EXPECT_EQ(batch.tokens[at], row[i]);
      EXPECT_EQ(batch.positions[at], static_cast<int32_t>(i));
    }
  }
}

TEST(BatchTest, SegmentsSortPositionsByToken) {
  Split split = ragged_split();
  split.tokens[5] = 2'000'000'000;  // needs every digit of the radix sort
  split.tokens[6] = split.tokens[8] = split.tokens[20];
  std::vector<int64_t> rows(10);
  std::iota(rows.begin(), rows.end(), 0);
  const Batch batch = make_batch(split, rows);
  std::vector<int32_t> expected(batch.tokens.size());
  std::iota(expected.begin(), expected.end(), 0);
  std::stable_sort(expected.begin(), expected.end(),
                   [&](int32_t a, int32_t b) { return batch.tokens[a] < batch.tokens[b]; });
  EXPECT_EQ(batch.token_order, expected);
  ASSERT_EQ(batch.segment_starts.size(), batch.segment_tokens.size() + 1);
  EXPECT_EQ(batch.segment_starts.back(), batch.token_count());
  EXPECT_TRUE(std::is_sorted(batch.segment_tokens.begin(), batch.segment_tokens.end(), std::less_equal<>{}));
  for (size_t s = 0; s < batch.segment_tokens.size(); ++s)
    for (int32_t i = batch.segment_starts[s]; i < batch.segment_starts[s + 1]; ++i)
      EXPECT_EQ(batch.tokens[static_cast<size_t>(batch.token_order[static_cast<size_t>(i)])], batch.segment_tokens[s]);
}

TEST(BatchTest, AnEmptyBatchIsWellFormed) {
  const Batch batch = make_batch(ragged_split(), {});
  EXPECT_EQ(batch.row_starts, std::vector<int32_t>{0});
  EXPECT_EQ(batch.segment_starts, std::vector<int32_t>{0});
}

}  // namespace
}  // namespace mpq
