// What a search ends with: a table, the winners' formats, two figures, and the same numbers as TSV.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "app/known_baseline.h"
#include "app/search_figures.h"
#include "nn/bert.h"
#include "search/frozen_trial.h"

namespace mpq {

struct FamilyResult {
  std::string family;
  SearchSeries series;  // every trial: accuracy on the selection split, bits
  int64_t trials = 0;
  double seconds = 0;                   // of the trials
  int64_t winner = -1;                  // trial number; -1: none
  bool diverged = false;                // the winner did, as all others
  int64_t correct = 0, rows = 0;        // of the winner on the selection split
  std::optional<double> test_accuracy;  // nothing where selection used the test split
  std::optional<double> mcnemar;        // against the float control, on the test rows
  double linear_bits = 0, parameter_bits = 0;
  std::vector<LinearSpec> formats;  // of the winner
  std::vector<double> confirmed;    // test accuracies of the winner retrained with other seeds
};

// Prints the table (standard output, unless quiet) and writes everything into `folder`. The first result is the float
// control; the n-gram baseline, where it is known, has a row of its own. `selection` names the split that selected.
void report(const std::vector<FamilyResult>& results, const std::optional<KnownBaseline>& baseline, const Bert& model,
            const std::string& selection, const std::filesystem::path& folder, bool quiet);

}  // namespace mpq
