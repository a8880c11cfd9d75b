// What a search ends with: a table, the winners' models, two figures, and the same numbers as TSV.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "app/known_baseline.h"
#include "app/search_figures.h"
#include "app/search_space.h"

namespace mpq {

struct TrialPoint {
  double accuracy = 0;  // of the split that selects; NaN: none
  ModelSize size;
  std::string architecture;
  std::optional<double> test;  // accuracy there, where validation selects and the test split is watched
};

struct StudyResult {
  std::string study;
  bool is_control = false;
  std::vector<TrialPoint> trials;  // by number
  int64_t finished = 0;
  double seconds = 0;                     // of the trials
  int64_t winner = -1;                    // trial number; -1: none
  bool diverged = false;                  // the winner did, as all others
  int64_t correct = 0, rows = 0;          // of the winner on the split that selects
  std::optional<double> test_accuracy;    // nothing where selection used the test split
  std::optional<double> mcnemar;          // against the control, on the test rows
  Candidate candidate;                    // the winner
  std::vector<double> confirmed;          // test accuracies of the winner retrained with other seeds
  int64_t best_on_test = -1;              // the trial that the watched test split would have selected; -1: not watched
  std::vector<double> confirmed_on_test;  // its test accuracies, as `confirmed`

  double accuracy() const { return static_cast<double>(correct) / static_cast<double>(rows); }
};

// How a search presents itself, and the split that selected.
struct SearchStyle {
  std::string subject, control, selection;
  bool architectures = false;
  bool whole_model = false;  // the budget counts all parameters
};

// Prints the table (standard output, unless quiet) and writes everything into `folder`. The first result is the
// control; the n-gram baseline, where it is known, has a row of its own.
void report(const std::vector<StudyResult>& results, const std::optional<KnownBaseline>& baseline,
            const SearchStyle& style, const std::filesystem::path& folder, bool quiet);

}  // namespace mpq
