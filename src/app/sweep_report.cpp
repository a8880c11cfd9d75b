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

bool is_control(const SweepPoint& point) { return point.curve == "none"; }
std::string mode_of(const SweepPoint& point) { return point.trained ? "qat" : "ptq"; }

bool has_test(const std::vector<SweepResult>& results) {
  return std::any_of(results.begin(), results.end(), [](const SweepResult& r) { return r.test.has_value(); });
}

const SweepMean* control_of(const std::vector<SweepMean>& means, bool trained) {
  for (const SweepMean& m : means)
    if (is_control(m.point) && m.point.trained == trained) return &m;
  return nullptr;
}

double mean(const std::vector<double>& values) { return mean_of(values).mean; }
std::string accuracy_text(std::optional<double> accuracy) { return accuracy ? fmt::format("{:.5f}", *accuracy) : "-"; }

Table table_of(const std::vector<SweepMean>& means, bool test) {
  const std::string split = test ? "test" : "valid";
  Table table{{"mode", "format", "width", "bits/weight", "seeds", split, "95% low", "95% high", "minus float", "valid"},
              {}};
  for (const SweepMean& m : means) {
    const Mean mean = mean_of(m.accuracies);
    const bool known = std::isfinite(mean.interval.low);
    const SweepMean* control = control_of(means, m.point.trained);
    table.add({mode_of(m.point), m.point.curve, m.point.width > 0 ? std::to_string(m.point.width) : "-",
               fmt::format("{:.2f}", m.bits), std::to_string(m.accuracies.size()), fmt::format("{:.4f}", mean.mean),
               known ? fmt::format("{:.4f}", mean.interval.low) : "-",
               known ? fmt::format("{:.4f}", mean.interval.high) : "-",
               control ? fmt::format("{:+.4f}", mean.mean - mpq::mean(control->accuracies)) : "-",
               m.valid.empty() ? "-" : fmt::format("{:.4f}", mpq::mean(m.valid))});
  }
  return table;
}

Table points_of(const std::vector<SweepResult>& results) {
  Table table{{"mode", "format", "width", "seed", "bits", "valid", "test", "diverged"}, {}};
  for (const SweepResult& r : results)
    table.add({mode_of(r.point), r.point.format, std::to_string(r.point.width), std::to_string(r.point.seed),
               fmt::format("{:.4f}", r.bits), accuracy_text(r.valid), accuracy_text(r.test),
               r.diverged ? "yes" : "no"});
  return table;
}

Table formats_of(const std::vector<SweepResult>& results, const Bert& model) {
  Table table{{"point", "layer", "format"}, {}};
  const std::vector<std::string> names = format_names(model);
  for (const SweepResult& r : results)
    for (size_t i = 0; i < r.formats.size() && !is_control(r.point); ++i)
      table.add({r.point.name(), names[i], r.formats[i]});
  return table;
}

std::string control_name(bool trained, double epochs) {
  return trained ? fmt::format("float32, {} more epoch{} (control)", epochs, epochs == 1 ? "" : "s")
                 : "float32, the base";
}

std::vector<double> different_bits(const std::vector<SweepMean>& means) {
  std::vector<double> bits;
  for (const SweepMean& m : means) bits.push_back(m.bits);
  std::sort(bits.begin(), bits.end());
  bits.erase(std::unique(bits.begin(), bits.end()), bits.end());
  return bits;
}

}  // namespace

std::vector<SweepMean> means_of(const std::vector<SweepResult>& results) {
  const bool test = has_test(results);
  std::vector<SweepMean> means;
  for (const bool trained : {false, true})
    for (const SweepResult& r : results) {
      if (r.point.trained != trained) continue;
      const auto same = [&](const SweepMean& m) {
        return m.point.trained == trained && m.point.format == r.point.format && m.point.curve == r.point.curve;
      };
      auto at = std::find_if(means.begin(), means.end(), same);
      if (at == means.end()) at = means.insert(means.end(), {r.point, r.bits, {}, {}});
      at->accuracies.push_back(test ? r.test.value() : r.valid.value());
      if (r.valid) at->valid.push_back(*r.valid);
    }
  return means;
}

Figure sweep_figure(const std::vector<SweepMean>& means, const SweepOptions& options, bool test) {
  Figure figure{.title = "What accuracy each width keeps, post-training (PTQ) and with training (QAT)",
                .x_title = "average bits per Linear weight, shared exponents and scales counted",
                .y_title = fmt::format("{} accuracy (mean, 95 % interval over seeds)", test ? "test" : "validation"),
                .logarithmic_x = true};
  const std::vector<double> bits = different_bits(means);
  if (bits.size() <= 12) figure.x_labels = bits;
  for (const SweepMean& m : means) {
    if (is_control(m.point)) continue;
    const std::string name = (m.point.trained ? "QAT " : "PTQ ") + m.point.curve;
    auto curve =
        std::find_if(figure.curves.begin(), figure.curves.end(), [&](const Curve& c) { return c.name == name; });
    if (curve == figure.curves.end())
      curve = figure.curves.insert(curve, {.name = name, .spread = Curve::Spread::bars});
    add_mean(*curve, m.bits, m.accuracies);
  }
  for (const bool trained : {false, true})
    if (const SweepMean* control = control_of(means, trained))
      figure.curves.push_back(
          control_line(control_name(trained, options.train.epochs), bits.front(), bits.back(), control->accuracies));
  return figure;
}

nlohmann::ordered_json to_json(const std::vector<SweepResult>& results) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const SweepMean& m : means_of(results)) {
    const Mean mean = mean_of(m.accuracies);
    nlohmann::ordered_json o{{"mode", mode_of(m.point)},  {"format", m.point.format},   {"width", m.point.width},
                             {"bits_per_weight", m.bits}, {"accuracies", m.accuracies}, {"mean", mean.mean}};
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
  const bool drawn = write_figure(sweep_figure(means, options, test), folder, "accuracy_by_width");
  if (quiet) return;
  fmt::print("\n{}\n{}: table.tsv, points.tsv, formats.tsv, {}\n", to_text(table), folder.string(),
             drawn ? "accuracy_by_width.svg and .png" : "figure data");
}

}  // namespace mpq
