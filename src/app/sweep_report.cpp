#include "app/sweep_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/table.h"
#include "base/file.h"
#include "base/statistics.h"
#include "nn/model_formats.h"

namespace mpq {
namespace {

std::string mode_of(const SweepPoint& point) { return point.trained ? "qat" : "ptq"; }

bool has_test(const std::vector<SweepResult>& results) {
  return std::any_of(results.begin(), results.end(), [](const SweepResult& r) { return r.test.has_value(); });
}

// A column says what has the format, where that is not the whole model.
std::vector<std::string> with_part(bool parts, std::vector<std::string> row, const std::string& part) {
  if (parts) row.insert(row.begin() + 2, part.empty() ? "-" : part);
  return row;
}

double mean(const std::vector<double>& values) { return mean_of(values).mean; }
std::string accuracy_text(std::optional<double> accuracy) { return accuracy ? fmt::format("{:.5f}", *accuracy) : "-"; }

Table table_of(const std::vector<SweepMean>& means, bool test) {
  const std::string split = test ? "test" : "valid";
  const bool parts = has_parts(means);
  Table table{with_part(parts,
                        {"mode", "format", "width", "bits/weight", "seeds", split, "95% low", "95% high", "minus float",
                         "valid"},
                        "in"),
              {}};
  for (const SweepMean& m : means) {
    const Mean mean = mean_of(m.accuracies);
    const bool known = std::isfinite(mean.interval.low);
    const SweepMean* control = control_of(means, m.point.trained);
    table.add(with_part(parts,
                        {mode_of(m.point), m.point.curve, m.point.width > 0 ? std::to_string(m.point.width) : "-",
                         fmt::format("{:.2f}", m.bits), std::to_string(m.accuracies.size()),
                         fmt::format("{:.4f}", mean.mean), known ? fmt::format("{:.4f}", mean.interval.low) : "-",
                         known ? fmt::format("{:.4f}", mean.interval.high) : "-",
                         control ? fmt::format("{:+.4f}", mean.mean - mpq::mean(control->accuracies)) : "-",
                         m.valid.empty() ? "-" : fmt::format("{:.4f}", mpq::mean(m.valid))},
                        m.point.part));
  }
  return table;
}

Table points_of(const std::vector<SweepResult>& results) {
  const bool parts = has_parts(means_of(results));
  Table table{with_part(parts, {"mode", "format", "width", "seed", "bits", "valid", "test", "diverged"}, "in"), {}};
  for (const SweepResult& r : results)
    table.add(with_part(
        parts,
        {mode_of(r.point), r.point.format, std::to_string(r.point.width), std::to_string(r.point.seed),
         fmt::format("{:.4f}", r.bits), accuracy_text(r.valid), accuracy_text(r.test), r.diverged ? "yes" : "no"},
        r.point.part));
  return table;
}

Table formats_of(const std::vector<SweepResult>& results, const Bert& model) {
  Table table{{"point", "layer", "format"}, {}};
  const std::vector<std::string> names = format_names(model);
  for (const SweepResult& r : results)
    for (size_t i = 0; i < r.formats.size() && !r.point.is_control(); ++i)
      table.add({r.point.name(), names[i], r.formats[i]});
  return table;
}

}  // namespace

std::vector<SweepMean> means_of(const std::vector<SweepResult>& results) {
  const bool test = has_test(results);
  std::vector<SweepMean> means;
  for (const bool trained : {false, true})
    for (const SweepResult& r : results) {
      if (r.point.trained != trained) continue;
      const auto same = [&](const SweepMean& m) {
        return m.point.trained == trained && m.point.format == r.point.format && m.point.curve == r.point.curve &&
               m.point.part == r.point.part;
      };
      auto at = std::find_if(means.begin(), means.end(), same);
      if (at == means.end()) at = means.insert(means.end(), {r.point, r.bits, {}, {}});
      at->accuracies.push_back(test ? r.test.value() : r.valid.value());
      if (r.valid) at->valid.push_back(*r.valid);
    }
  return means;
}

const SweepMean* control_of(const std::vector<SweepMean>& means, bool trained) {
  for (const SweepMean& m : means)
    if (m.point.is_control() && m.point.trained == trained) return &m;
  return nullptr;
}

bool has_parts(const std::vector<SweepMean>& means) {
  return std::any_of(means.begin(), means.end(), [](const SweepMean& m) { return !m.point.part.empty(); });
}

nlohmann::ordered_json to_json(const std::vector<SweepResult>& results) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const SweepMean& m : means_of(results)) {
    const Mean mean = mean_of(m.accuracies);
    nlohmann::ordered_json o{{"mode", mode_of(m.point)},  {"format", m.point.format},   {"width", m.point.width},
                             {"bits_per_weight", m.bits}, {"accuracies", m.accuracies}, {"mean", mean.mean}};
    if (!m.point.part.empty()) o["in"] = m.point.part;
    if (std::isfinite(mean.interval.low)) o["low"] = mean.interval.low, o["high"] = mean.interval.high;
    list.push_back(o);
  }
  double seconds = 0;
  for (const SweepResult& r : results) seconds += r.seconds;
  return {{"split", has_test(results) ? "test" : "valid"}, {"points", list}, {"seconds", seconds}};
}

void report(const std::vector<SweepResult>& results, const SweepOptions& options, const Bert& model, bool quiet) {
  const bool test = has_test(results);
  const std::filesystem::path folder = options.out;
  const std::vector<SweepMean> means = means_of(results);
  const Table table = table_of(means, test);
  write_file_atomic(folder / "table.tsv", to_tsv(table));
  write_file_atomic(folder / "table.md", to_markdown(table));
  write_file_atomic(folder / "points.tsv", to_tsv(points_of(results)));
  write_file_atomic(folder / "formats.tsv", to_tsv(formats_of(results, model)));
  const std::string name = has_parts(means) ? "accuracy_by_part" : "accuracy_by_width";
  const bool drawn = write_figure(sweep_figure(means, options, test), folder, name);
  if (quiet) return;
  fmt::print("\n{}\n{}: table.tsv, points.tsv, formats.tsv, {}\n", to_text(table), folder.string(),
             drawn ? name + ".svg and .png" : "figure data");
}

}  // namespace mpq
