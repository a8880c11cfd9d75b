#include "train/cross_fit.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"

namespace mpq {
namespace {

std::unordered_map<uint64_t, int> deal(std::span<const uint64_t> groups, int folds) {
  std::map<uint64_t, int64_t> sizes;
  for (uint64_t group : groups) ++sizes[group];
  if (static_cast<int64_t>(sizes.size()) < folds)
    throw UserError(fmt::format("--folds {}: the training split has {} groups", folds, sizes.size()),
                    fmt::format("at most {}", sizes.size()));
  std::vector<int64_t> dealt(static_cast<size_t>(folds));
  std::unordered_map<uint64_t, int> fold_of;
  for (const auto& [group, size] : sizes) {
    const auto smallest = std::min_element(dealt.begin(), dealt.end());
    fold_of[group] = static_cast<int>(smallest - dealt.begin());
    *smallest += size;
  }
  return fold_of;
}

}  // namespace

Folds make_folds(std::span<const uint64_t> groups, std::span<const uint64_t> texts, int folds) {
  const auto fold_of = deal(groups, folds);
  Folds result;
  std::vector<std::unordered_set<uint64_t>> texts_of(static_cast<size_t>(folds));
  for (size_t r = 0; r < groups.size(); ++r) {
    result.fold_of_row.push_back(fold_of.at(groups[r]));
    texts_of[static_cast<size_t>(result.fold_of_row[r])].insert(texts[r]);
  }
  result.others.resize(static_cast<size_t>(folds));
  for (size_t r = 0; r < groups.size(); ++r)
    for (int f = 0; f < folds; ++f)
      if (f != result.fold_of_row[r] && !texts_of[static_cast<size_t>(f)].contains(texts[r]))
        result.others[static_cast<size_t>(f)].push_back(static_cast<int64_t>(r));
  return result;
}

}  // namespace mpq
