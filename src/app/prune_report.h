// What mpq prune ends with: a table of means over seeds, and of a sweep every point and a figure.
#pragma once
#include <nlohmann/json.hpp>

#include "app/figure.h"
#include "app/prune_run.h"

namespace mpq {

// One method at one sparsity, over seeds.
struct PruneMean {
  PruneMethod method;
  float sparsity;
  std::vector<double> pruned, tuned;  // accuracies of the seeds; tuned is empty without training
};
// In the points' order, the control first.
std::vector<PruneMean> means_of(const std::vector<PruneResult>& results);

// x: sparsity; y: accuracy; two curves a method, as pruned and fine-tuned; the dense base and the control as lines.
Figure prune_figure(const std::vector<PruneMean>& means, const PruneOptions& options, bool test);

// Writes table.tsv, table.md, points.tsv and accuracy_by_sparsity.* into the folder.
void write_report(const std::vector<PruneResult>& results, const PruneOptions& options, bool test);
std::string table_text(const std::vector<PruneResult>& results);
nlohmann::ordered_json to_json(const std::vector<PruneResult>& results, bool test);

}  // namespace mpq
