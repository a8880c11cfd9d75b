#include "app/search_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "app/architecture_space.h"
#include "app/search_drawing.h"
#include "app/table.h"
#include "base/file.h"
#include "base/statistics.h"
#include "nn/model_formats.h"

namespace mpq {
namespace {

using Cells = std::vector<std::string>;

std::string percent_point(std::optional<double> accuracy) { return accuracy ? fmt::format("{:.4f}", *accuracy) : "-"; }

Cells size_header(const SearchStyle& style) {
  return style.architectures ? Cells{"parameters", "multiply-adds", "MB"} : Cells{"bits/weight", "bits/parameter"};
}
Cells size_cells(const ModelSize& size, const SearchStyle& style) {
  if (style.architectures)
    return {std::to_string(size.parameters), std::to_string(size.multiply_adds),
            fmt::format("{:.2f}", size.megabytes())};
  return {fmt::format("{:.2f}", size.bits_per_weight), fmt::format("{:.2f}", size.bits_per_parameter)};
}

Cells winner_cells(const StudyResult& r, const SearchStyle& style) {
  if (r.winner < 0) return Cells(5 + size_header(style).size(), "-");
  const Interval interval = wilson_interval(r.correct, r.rows);
  Cells cells{fmt::format("{:.4f}", r.accuracy()), fmt::format("{:.4f}", interval.low),
              fmt::format("{:.4f}", interval.high), percent_point(r.test_accuracy),
              r.mcnemar ? fmt::format("{:.3g}", *r.mcnemar) : "-"};
  const Cells sizes = size_cells(r.trials[static_cast<size_t>(r.winner)].size, style);
  cells.insert(cells.end(), sizes.begin(), sizes.end());
  return cells;
}

Cells confirmed_cells(const std::vector<double>& values) {
  if (values.empty()) return {"-", "-", "-"};
  const Mean mean = mean_of(values);
  if (values.size() == 1) return {fmt::format("{:.4f}", mean.mean), "-", "-"};
  return {fmt::format("{:.4f}", mean.mean), fmt::format("{:.4f}", mean.interval.low),
          fmt::format("{:.4f}", mean.interval.high)};
}

Table table_of(const std::vector<StudyResult>& results, const SearchStyle& style) {
  const auto append = [](Cells& to, const Cells& from) { to.insert(to.end(), from.begin(), from.end()); };
  const bool confirmed =
      std::any_of(results.begin(), results.end(), [](const StudyResult& r) { return !r.confirmed.empty(); });
  Table table{{style.subject, "best " + style.selection, "95% low", "95% high", "test",
               style.architectures ? "p vs control" : "p vs float"},
              {}};
  append(table.header, size_header(style));
  append(table.header, {"trials", "seconds"});
  if (confirmed) append(table.header, {"seeds: mean test", "seeds: 95% low", "seeds: 95% high"});
  for (const StudyResult& r : results) {
    Cells row{r.study};
    append(row, winner_cells(r, style));
    append(row, {std::to_string(r.finished), fmt::format("{:.1f}", r.seconds)});
    if (confirmed) append(row, confirmed_cells(r.confirmed));
    table.add(row);
  }
  return table;
}

// The test accuracy that each split selects, and what is left of it with other seeds; no rows where test is not
// watched.
Table selection_of(const std::vector<StudyResult>& results, const SearchStyle& style) {
  Table table{
      {style.subject, "selected on", "trial", "valid", "test", "seeds: mean test", "seeds: 95% low", "seeds: 95% high"},
      {}};
  for (const StudyResult& r : results) {
    if (r.is_control || r.best_on_test < 0) continue;
    for (const auto& [split, number, seeds] :
         {std::tuple{"valid", r.winner, &r.confirmed}, {"test", r.best_on_test, &r.confirmed_on_test}}) {
      const TrialPoint& trial = r.trials[static_cast<size_t>(number)];
      Cells row{r.study, split, std::to_string(number), fmt::format("{:.4f}", trial.accuracy),
                percent_point(trial.test)};
      const Cells confirmed = confirmed_cells(*seeds);
      row.insert(row.end(), confirmed.begin(), confirmed.end());
      table.add(row);
    }
  }
  return table;
}

// As a study that needs no trials.
void add_baseline(const KnownBaseline& b, const std::string& selection, Table& table) {
  const Hits& hits = selection == "test" ? b.test : b.valid;
  const Interval interval = wilson_interval(hits.correct, hits.rows);
  Cells row{"n-gram baseline", percent_point(hits.accuracy()), fmt::format("{:.4f}", interval.low),
            fmt::format("{:.4f}", interval.high),
            percent_point(selection == "test" ? std::nullopt : b.test.accuracy())};
  row.resize(table.header.size(), "-");
  table.add(row);
}

Table winners_of(const std::vector<StudyResult>& results, const SearchStyle& style) {
  Table table{{style.subject, "layer", "format"}, {}};
  for (const StudyResult& r : results) {
    if (r.winner < 0) continue;
    const Bert& model = *r.candidate.model;
    for (const Linear* linear : model.linears())
      table.add({r.study, linear->name, to_text(r.candidate.formats[linear->index])});
    for (const EmbeddingTable& t : model.tables())
      if (const QuantSpec format = spec_of(r.candidate.formats, t).w; !is_none(format))
        table.add({r.study, t.name, to_text(format)});
    for (const std::string& name : model.config().identities) table.add({r.study, name, "identity"});
  }
  return table;
}

Table trials_of(const std::vector<StudyResult>& results, const SearchStyle& style) {
  Table table{{style.subject, "trial", "accuracy", "bits", "parameters", "multiply-adds", "architecture",
               "bits/parameter", "test"},
              {}};
  for (const StudyResult& r : results)
    for (size_t i = 0; i < r.trials.size(); ++i) {
      const TrialPoint& t = r.trials[i];
      table.add({r.study, std::to_string(i), std::isnan(t.accuracy) ? "-" : fmt::format("{:.6f}", t.accuracy),
                 fmt::format("{:.4f}", t.size.bits_per_weight), std::to_string(t.size.parameters),
                 std::to_string(t.size.multiply_adds), t.architecture, fmt::format("{:.4f}", t.size.bits_per_parameter),
                 t.test ? fmt::format("{:.6f}", *t.test) : "-"});
    }
  return table;
}

void print_winner(const StudyResult& r, const SearchStyle& style) {
  const Bert& model = *r.candidate.model;
  const std::vector<LinearSpec>& formats = r.candidate.formats;
  const std::span linears(formats.begin(), model.linears().size());
  fmt::print("{}, trial {}: ", r.study, r.winner);
  if (style.architectures) fmt::print("{}; ", describe_architecture(r.candidate.model->config()));
  if (std::all_of(linears.begin(), linears.end(), [&](const LinearSpec& s) { return s == formats[0]; })) {
    fmt::print("every Linear {}\n", to_text(formats[0]));
  } else {
    fmt::print("\n");
    for (const Linear* linear : model.linears())
      fmt::print("  {:<50} {}\n", linear->name, to_text(formats[linear->index]));
  }
  for (const EmbeddingTable& table : model.tables())
    if (const QuantSpec format = spec_of(formats, table).w; !is_none(format))
      fmt::print("  {:<50} {}\n", table.name, to_text(format));
}

}  // namespace

void report(const std::vector<StudyResult>& results, const std::optional<KnownBaseline>& baseline,
            const SearchStyle& style, const std::filesystem::path& folder, bool quiet) {
  Table table = table_of(results, style);
  if (baseline) add_baseline(*baseline, style.selection, table);
  write_file_atomic(folder / "table.tsv", to_tsv(table));
  write_file_atomic(folder / "table.md", to_markdown(table));
  write_file_atomic(folder / "winners.tsv", to_tsv(winners_of(results, style)));
  write_file_atomic(folder / "trials.tsv", to_tsv(trials_of(results, style)));
  const Table selection = selection_of(results, style);
  if (!selection.rows.empty()) write_file_atomic(folder / "selected.tsv", to_tsv(selection));
  const std::vector<std::string> drawn = draw_search(results, style, folder);
  if (quiet) return;
  fmt::print("\n{}\n", to_text(table));
  if (!selection.rows.empty()) fmt::print("{}\n", to_text(selection));
  for (const StudyResult& r : results)
    if (r.winner >= 0 && !r.is_control) print_winner(r, style);
  std::string figures;
  for (const std::string& name : drawn) figures += fmt::format(", {0}.svg and .png", name);
  fmt::print("\n{}: table.tsv, winners.tsv, trials.tsv{}\n", folder.string(),
             drawn.empty() ? ", figure data" : figures);
}

}  // namespace mpq
