#include "app/search_report.h"

#include <fmt/format.h>

#include <cmath>

#include "app/table.h"
#include "base/file.h"
#include "base/statistics.h"

namespace mpq {
namespace {

std::string percent_point(std::optional<double> accuracy) { return accuracy ? fmt::format("{:.4f}", *accuracy) : "-"; }

Table table_of(const std::vector<FamilyResult>& results, const std::string& selection) {
  Table table{{"family", "best " + selection, "95% low", "95% high", "test", "p vs float", "bits/weight",
               "bits/parameter", "trials", "seconds"},
              {}};
  bool confirmed = false;
  for (const FamilyResult& r : results) confirmed |= !r.confirmed.empty();
  if (confirmed) table.header.insert(table.header.end(), {"seeds: mean test", "seeds: 95% low", "seeds: 95% high"});
  for (const FamilyResult& r : results) {
    const Interval interval = wilson_interval(r.correct, r.rows);
    std::vector<std::string> row{r.family};
    if (r.winner < 0)
      row.insert(row.end(), {"-", "-", "-", "-", "-", "-", "-"});
    else
      row.insert(row.end(), {fmt::format("{:.4f}", static_cast<double>(r.correct) / static_cast<double>(r.rows)),
                             fmt::format("{:.4f}", interval.low), fmt::format("{:.4f}", interval.high),
                             percent_point(r.test_accuracy), r.mcnemar ? fmt::format("{:.3g}", *r.mcnemar) : "-",
                             fmt::format("{:.2f}", r.linear_bits), fmt::format("{:.2f}", r.parameter_bits)});
    row.insert(row.end(), {std::to_string(r.trials), fmt::format("{:.1f}", r.seconds)});
    if (confirmed) {
      if (r.confirmed.empty())
        row.insert(row.end(), {"-", "-", "-"});
      else {
        const Mean mean = mean_of(r.confirmed);
        row.insert(row.end(), {fmt::format("{:.4f}", mean.mean), fmt::format("{:.4f}", mean.interval.low),
                               fmt::format("{:.4f}", mean.interval.high)});
      }
    }
    table.add(row);
  }
  return table;
}

// As a family that needs no trials.
void add_baseline(const KnownBaseline& b, const std::string& selection, Table& table) {
  const Hits& hits = selection == "test" ? b.test : b.valid;
  const Interval interval = wilson_interval(hits.correct, hits.rows);
  std::vector<std::string> row{"n-gram baseline", percent_point(hits.accuracy()), fmt::format("{:.4f}", interval.low),
                               fmt::format("{:.4f}", interval.high),
                               percent_point(selection == "test" ? std::nullopt : b.test.accuracy())};
  row.resize(table.header.size(), "-");
  table.add(row);
}

Table winners_of(const std::vector<FamilyResult>& results, const Bert& model) {
  Table table{{"family", "layer", "format"}, {}};
  for (const FamilyResult& r : results)
    for (size_t i = 0; i < r.formats.size(); ++i)
      table.add({r.family, model.linears()[i]->name, to_text(r.formats[i])});
  return table;
}

Table trials_of(const std::vector<FamilyResult>& results) {
  Table table{{"family", "trial", "accuracy", "bits"}, {}};
  for (const FamilyResult& r : results)
    for (size_t i = 0; i < r.series.trials.size(); ++i)
      table.add({r.family, std::to_string(i),
                 std::isnan(r.series.trials[i].accuracy) ? "-" : fmt::format("{:.6f}", r.series.trials[i].accuracy),
                 fmt::format("{:.4f}", r.series.trials[i].bits)});
  return table;
}

void print_winners(const std::vector<FamilyResult>& results, const Bert& model) {
  for (const FamilyResult& r : results) {
    if (r.winner < 0 || r.family == "none") continue;
    bool same = true;
    for (const LinearSpec& s : r.formats) same &= s == r.formats[0];
    fmt::print("{}, trial {}: ", r.family, r.winner);
    if (same)
      fmt::print("every Linear {}\n", to_text(r.formats[0]));
    else {
      fmt::print("\n");
      for (size_t i = 0; i < r.formats.size(); ++i)
        fmt::print("  {:<50} {}\n", model.linears()[i]->name, to_text(r.formats[i]));
    }
  }
}

}  // namespace

void report(const std::vector<FamilyResult>& results, const std::optional<KnownBaseline>& baseline, const Bert& model,
            const std::string& selection, const std::filesystem::path& folder, bool quiet) {
  Table table = table_of(results, selection);
  if (baseline) add_baseline(*baseline, selection, table);
  write_file_atomic(folder / "table.tsv", to_tsv(table));
  write_file_atomic(folder / "table.md", to_markdown(table));
  write_file_atomic(folder / "winners.tsv", to_tsv(winners_of(results, model)));
  write_file_atomic(folder / "trials.tsv", to_tsv(trials_of(results)));
  std::vector<SearchSeries> series;
  double control = 0;
  for (const FamilyResult& r : results) {
    series.push_back(r.series);
    if (r.family == "none" && r.rows > 0) control = static_cast<double>(r.correct) / static_cast<double>(r.rows);
  }
  const std::string split = selection == "valid" ? "validation" : selection;
  const bool drawn = write_figure(best_so_far_figure(series, control, split), folder, "best_so_far") &
                     write_figure(pareto_figure(series, control, split), folder, "pareto");
  if (quiet) return;
  fmt::print("\n{}\n", to_text(table));
  print_winners(results, model);
  fmt::print("\n{}: table.tsv, winners.tsv, trials.tsv{}\n", folder.string(),
             drawn ? ", best_so_far.svg and .png, pareto.svg and .png" : ", figure data");
}

}  // namespace mpq
