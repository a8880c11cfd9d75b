#include "data/splits.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/sha256.h"
#include "base/text.h"

namespace mpq {
namespace {

constexpr double kDefaultValidShare = 0.2;

// FNV's low bits are weak; this finalizer (of SplitMix64) makes an order by hash a fair shuffle.
uint64_t mix(uint64_t h) {
  h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ull;
  h = (h ^ h >> 27) * 0x94d049bb133111ebull;
  return h ^ h >> 31;
}

RowNumbers all_rows(const RowKeys& table) {
  RowNumbers rows(static_cast<size_t>(table.row_count()));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

// The groups, in the order of their hash, that hold about `share` of the rows: the choice depends on the groups alone,
// not on the order of the rows.
std::unordered_set<uint64_t> choose_groups(std::span<const uint64_t> group_of_row, double share) {
  std::unordered_map<uint64_t, int64_t> sizes;
  for (uint64_t group : group_of_row) ++sizes[group];
  std::vector<uint64_t> order;
  for (const auto& [group, size] : sizes) order.push_back(group);
  std::sort(order.begin(), order.end(), [](uint64_t a, uint64_t b) { return mix(a) < mix(b); });
  const auto wanted = std::llround(share * static_cast<double>(group_of_row.size()));
  std::unordered_set<uint64_t> chosen;
  int64_t taken = 0;
  for (uint64_t group : order) {
    if (taken + sizes[group] / 2 >= wanted) break;  // the nearer side of the wanted number
    chosen.insert(group);
    taken += sizes[group];
  }
  return chosen;
}

RowNumbers take_validation(const RowKeys& table, RowNumbers& train, double share) {
  const auto chosen = choose_groups(table.groups, share);
  const auto is_chosen = [&](int64_t r) { return chosen.contains(table.groups[r]); };
  RowNumbers valid;
  std::copy_if(train.begin(), train.end(), std::back_inserter(valid), is_chosen);
  std::erase_if(train, is_chosen);
  return valid;
}

// A fixed choice of `wanted` rows by the hash of their texts, each label in proportion.
void keep_subset(const RowKeys& table, RowNumbers& rows, int64_t wanted) {
  const auto total = static_cast<int64_t>(rows.size());
  if (wanted >= total) return;
  const auto rank = [&](int64_t r) { return std::tuple(table.labels[r], mix(table.texts[r] + 1), r); };
  RowNumbers order = rows, subset;
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return rank(a) < rank(b); });
  for (auto begin = order.begin(); begin != order.end();) {
    const auto end =
        std::find_if(begin, order.end(), [&](int64_t r) { return table.labels[r] != table.labels[*begin]; });
    const int64_t quota = (end - order.begin()) * wanted / total - (begin - order.begin()) * wanted / total;
    subset.insert(subset.end(), begin, begin + quota);
    begin = end;
  }
  std::sort(subset.begin(), subset.end());
  rows = std::move(subset);
}

// --rows: training and validation share them in proportion.
void limit_rows(int64_t limit, const Tables& tables, SplitRows& rows) {
  const auto valid_count = static_cast<int64_t>(rows.valid.size());
  const int64_t total = static_cast<int64_t>(rows.train.size()) + valid_count;
  if (limit < total) {
    const auto exact = static_cast<double>(limit) * static_cast<double>(valid_count) / static_cast<double>(total);
    const int64_t valid_rows = rows.valid.empty() ? 0 : std::max<int64_t>(1, std::llround(exact));
    keep_subset(tables.train, rows.train, limit - valid_rows);
    keep_subset(rows.valid_from_train ? tables.train : tables.valid, rows.valid, valid_rows);
  }
  keep_subset(tables.test, rows.test, limit);
  keep_subset(tables.unlabelled, rows.unlabelled, limit);
}

double valid_share(const std::string& valid) {
  if (valid.empty()) return kDefaultValidShare;
  const double share = parse_double(valid).value_or(-1);
  if (!(share > 0 && share < 1))
    throw UserError(fmt::format("--valid {} is not allowed", valid), "a file, or a share between 0 and 1");
  return share;
}

// Without the unlabelled rows: they are there only where they are asked for, and change no accuracy by themselves.
std::string fingerprint(const DataOptions& options, const Tables& tables, const SplitRows& rows) {
  Sha256 hash;
  hash.update(join(tables.label_names, "\n"));
  const auto add = [&](const RowKeys& table, const RowNumbers& numbers) {
    std::vector<uint64_t> words{numbers.size()};
    for (int64_t r : numbers) words.insert(words.end(), {table.texts[r], static_cast<uint64_t>(table.labels[r])});
    hash.update({reinterpret_cast<const char*>(words.data()), words.size() * sizeof words[0]});
  };
  add(tables.train, rows.train);
  if (options.merge_valid_into_train) hash.update(" and");
  add(rows.valid_from_train ? tables.train : tables.valid, rows.valid);
  add(tables.test, rows.test);
  return hash.hex();
}

}  // namespace

void check_labels(const std::vector<std::string>& label_names, const std::string& name) {
  if (label_names.size() < 2)
    throw UserError(fmt::format("{} holds only the label {}", name, join(label_names, ", ")),
                    "a classifier needs two labels or more");
}

SplitRows choose_rows(const DataOptions& options, const Tables& tables, const std::string& name) {
  if (options.rows < 0) throw UserError(fmt::format("--rows {} is not allowed", options.rows), "0 (all) or more");
  SplitRows rows{.train = all_rows(tables.train),
                 .valid = all_rows(tables.valid),
                 .test = all_rows(tables.test),
                 .unlabelled = all_rows(tables.unlabelled)};
  if (tables.valid.row_count() == 0 && !options.merge_valid_into_train) {
    rows.valid = take_validation(tables.train, rows.train, valid_share(options.valid));
    rows.valid_from_train = true;
  }
  if (options.rows > 0) limit_rows(options.rows, tables, rows);
  if (rows.train.empty() && !(options.merge_valid_into_train && !rows.valid.empty()))
    throw UserError(fmt::format("{}: no rows are left for training", name), "more rows, or a smaller --valid");
  rows.fingerprint = fingerprint(options, tables, rows);
  return rows;
}

}  // namespace mpq
