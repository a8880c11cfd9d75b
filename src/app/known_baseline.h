// What mpq baseline found on a data set, kept in the cache folder so that the reports of other commands show it: they
// never spend a minute of their own on it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace mpq {

struct Hits {
  int64_t correct = 0, rows = 0;
  std::optional<double> accuracy() const;  // nothing without rows
};

struct KnownBaseline {
  Hits test, valid;
  int64_t features = 0;
  std::string options;  // "--ngrams 3 ..."
};

// `splits` is Dataset::splits: the baseline trained on the same rows and met the same test split.
void remember_baseline(const std::string& splits, const KnownBaseline& baseline);
std::optional<KnownBaseline> known_baseline(const std::string& splits);

// "n-gram baseline: test 0.9173 (...)", or how to get one; for the end of a report.
std::string baseline_line(const std::string& splits);

}  // namespace mpq
