// What a sweep ends with: a table of means over seeds, every point, every layer's concrete format, and a figure.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>

#include "app/figure.h"
#include "app/sweep_run.h"

namespace mpq {

// The points of one format and width, over seeds.
struct SweepMean {
  SweepPoint point;  // of the first seed
  double bits;
  std::vector<double> accuracies;  // of the seeds: test, or validation where there is no test split
  std::vector<double> valid;       // of the seeds; or empty
};
// In the points' order: PTQ, then QAT, the float control first.
std::vector<SweepMean> means_of(const std::vector<SweepResult>& results);
const SweepMean* control_of(const std::vector<SweepMean>& means, bool trained);  // null: none yet
bool has_parts(const std::vector<SweepMean>& means);                             // formats given to parts of the model

// x: bits, or the part that has the format; y: accuracy; a curve a format, with and without training; the base and the
// float control as lines (sweep_figure.cpp).
Figure sweep_figure(const std::vector<SweepMean>& means, const SweepOptions& options, bool test);

// Prints the table (unless quiet) and writes table.tsv, table.md, points.tsv, formats.tsv and accuracy_by_width.* (or
// accuracy_by_part.*) into the folder.
void report(const std::vector<SweepResult>& results, const SweepOptions& options, const Bert& model, bool quiet);
nlohmann::ordered_json to_json(const std::vector<SweepResult>& results);

}  // namespace mpq
