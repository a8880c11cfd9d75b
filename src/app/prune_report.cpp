#include "app/prune_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/table.h"
#include "base/file.h"
#include "base/statistics.h"

namespace mpq {
namespace {

const PruneMean* control_of(const std::vector<PruneMean>& means) {
  return !means.empty() && means[0].method == PruneMethod::none ? &means[0] : nullptr;
}

std::vector<std::string> cells(const std::vector<double>& accuracies) {
  if (accuracies.empty()) return {"-", "-", "-"};
  const Mean mean = mean_of(accuracies);
  const bool known = std::isfinite(mean.interval.low);
  return {fmt::format("{:.4f}", mean.mean), known ? fmt::format("{:.4f}", mean.interval.low) : "-",
          known ? fmt::format("{:.4f}", mean.interval.high) : "-"};
}

std::string minus_control(const PruneMean& m, const PruneMean* control) {
  if (!control || control->tuned.empty() || m.tuned.empty()) return "-";
  return fmt::format("{:+.4f}", mean_of(m.tuned).mean - mean_of(control->tuned).mean);
}

Table table_of(const std::vector<PruneMean>& means) {
  Table table{{"method", "sparsity", "seeds", "as pruned", "95% low", "95% high", "fine-tuned", "95% low", "95% high",
               "minus control"},
              {}};
  for (const PruneMean& m : means) {
    std::vector<std::string> row{m.method == PruneMethod::none ? "dense" : std::string(to_text(m.method)),
                                 fmt::format("{}", m.sparsity), std::to_string(m.pruned.size())};
    for (const auto& accuracies : {m.pruned, m.tuned})
      for (const std::string& cell : cells(accuracies)) row.push_back(cell);
    row.push_back(minus_control(m, control_of(means)));
    table.add(row);
  }
  return table;
}

Table points_of(const std::vector<PruneResult>& results) {
  Table table{{"method", "sparsity", "seed", "fine-tuned", "accuracy", "diverged", "seconds"}, {}};
  for (const PruneResult& r : results)
    table.add({std::string(to_text(r.point.method)), fmt::format("{}", r.point.sparsity), std::to_string(r.point.seed),
               r.point.tuned ? "yes" : "no", fmt::format("{:.5f}", r.accuracy), r.diverged ? "yes" : "no",
               fmt::format("{:.1f}", r.seconds)});
  return table;
}

std::string title_of(const PruneOptions& o) {
  const std::string what = !o.prunes_activations() ? "weights"
                           : !o.prunes_weights()   ? "activations"
                                                   : "weights and activations";
  return fmt::format("Pruning {} of every Linear: accuracy by sparsity", what);
}

}  // namespace

std::vector<PruneMean> means_of(const std::vector<PruneResult>& results) {
  std::vector<PruneMean> means;
  for (const PruneResult& r : results) {
    auto at = std::find_if(means.begin(), means.end(), [&](const PruneMean& m) {
      return m.method == r.point.method && m.sparsity == r.point.sparsity;
    });
    if (at == means.end()) at = means.insert(means.end(), {r.point.method, r.point.sparsity, {}, {}});
    (r.point.tuned ? at->tuned : at->pruned).push_back(r.accuracy);
  }
  return means;
}

Figure prune_figure(const std::vector<PruneMean>& means, const PruneOptions& options, bool test) {
  Figure figure{.title = title_of(options),
                .x_title = "sparsity (share of zeros)",
                .y_title = fmt::format("{} accuracy (mean, 95 % interval over seeds)", test ? "test" : "validation")};
  double first = 1, last = 0;
  for (const bool tuned : {true, false})
    for (const PruneMethod method : {PruneMethod::l1, PruneMethod::random}) {
      Curve curve{.name = fmt::format("{}, {}", to_text(method),
                                      tuned ? fmt::format("fine-tuned {} epochs", options.train.epochs) : "as pruned"),
                  .spread = Curve::Spread::bars};
      for (const PruneMean& m : means) {
        const std::vector<double>& accuracies = tuned ? m.tuned : m.pruned;
        if (m.method != method || accuracies.empty()) continue;
        add_mean(curve, m.sparsity, accuracies);
        first = std::min<double>(first, m.sparsity), last = std::max<double>(last, m.sparsity);
      }
      if (!curve.x.empty()) figure.curves.push_back(curve);
    }
  if (const PruneMean* control = control_of(means)) {
    if (!control->tuned.empty())
      figure.curves.push_back(control_line(fmt::format("dense, {} more epochs (control)", options.train.epochs), first,
                                           last, control->tuned));
    figure.curves.push_back(control_line("dense, the base", first, last, control->pruned));
  }
  return figure;
}

void write_report(const std::vector<PruneResult>& results, const PruneOptions& options, bool test) {
  const std::filesystem::path folder = options.out;
  const std::vector<PruneMean> means = means_of(results);
  const Table table = table_of(means);
  write_file_atomic(folder / "table.tsv", to_tsv(table));
  write_file_atomic(folder / "table.md", to_markdown(table));
  write_file_atomic(folder / "points.tsv", to_tsv(points_of(results)));
  write_figure(prune_figure(means, options, test), folder, "accuracy_by_sparsity");
}

std::string table_text(const std::vector<PruneResult>& results) { return to_text(table_of(means_of(results))); }

nlohmann::ordered_json to_json(const std::vector<PruneResult>& results, bool test) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  double seconds = 0;
  for (const PruneMean& m : means_of(results)) {
    nlohmann::ordered_json o{{"method", to_text(m.method)}, {"sparsity", m.sparsity}, {"pruned", m.pruned}};
    if (!m.tuned.empty()) o["fine_tuned"] = m.tuned;
    list.push_back(o);
  }
  for (const PruneResult& r : results) seconds += r.seconds;
  return {{"split", test ? "test" : "valid"}, {"points", list}, {"seconds", seconds}};
}

}  // namespace mpq
