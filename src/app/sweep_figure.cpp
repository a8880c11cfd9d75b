// The figure of a sweep: accuracy by width, or by the part of the model that has the format.
#include <fmt/format.h>

#include <algorithm>

#include "app/sweep_report.h"

namespace mpq {
namespace {

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

// In the order of the model.
std::vector<std::string> different_parts(const std::vector<SweepMean>& means) {
  std::vector<std::string> parts;
  for (const SweepMean& m : means)
    if (!m.point.is_control() && std::find(parts.begin(), parts.end(), m.point.part) == parts.end())
      parts.push_back(m.point.part);
  return parts;
}

// Where a point stands, and its curve's name.
struct Place {
  double x;
  std::string curve;
};
template <class PlaceOf>
void add_curves(Figure& figure, const std::vector<SweepMean>& means, PlaceOf place_of) {
  for (const SweepMean& m : means) {
    if (m.point.is_control()) continue;
    const Place place = place_of(m);
    const std::string name = (m.point.trained ? "QAT " : "PTQ ") + place.curve;
    auto curve =
        std::find_if(figure.curves.begin(), figure.curves.end(), [&](const Curve& c) { return c.name == name; });
    if (curve == figure.curves.end())
      curve = figure.curves.insert(curve, {.name = name, .spread = Curve::Spread::bars});
    add_mean(*curve, place.x, m.accuracies);
  }
}

void add_controls(Figure& figure, const std::vector<SweepMean>& means, double from, double to, double epochs) {
  for (const bool trained : {false, true})
    if (const SweepMean* control = control_of(means, trained))
      figure.curves.push_back(control_line(control_name(trained, epochs), from, to, control->accuracies));
}

Figure figure_by_width(const std::vector<SweepMean>& means, double epochs) {
  Figure figure{.title = "What accuracy each width keeps, post-training (PTQ) and with training (QAT)",
                .x_title = "average bits per Linear weight, shared exponents and scales counted",
                .logarithmic_x = true};
  const std::vector<double> bits = different_bits(means);
  if (bits.size() <= 12) figure.x_labels = bits;
  add_curves(figure, means, [](const SweepMean& m) { return Place{m.bits, m.point.curve}; });
  add_controls(figure, means, bits.front(), bits.back(), epochs);
  return figure;
}

Figure figure_by_part(const std::vector<SweepMean>& means, double epochs) {
  const std::vector<std::string> parts = different_parts(means);
  Figure figure{.title = "What accuracy is left with a format in one part of the model at a time",
                .x_title = "the part that has the format",
                .x_names = parts};
  add_curves(figure, means, [&](const SweepMean& m) {
    const auto at = std::find(parts.begin(), parts.end(), m.point.part);
    return Place{static_cast<double>(at - parts.begin()), m.point.format};
  });
  add_controls(figure, means, 0, static_cast<double>(parts.size()) - 1, epochs);
  return figure;
}

}  // namespace

Figure sweep_figure(const std::vector<SweepMean>& means, const SweepOptions& options, bool test) {
  const double epochs = options.train.epochs;
  Figure figure = has_parts(means) ? figure_by_part(means, epochs) : figure_by_width(means, epochs);
  figure.y_title = fmt::format("{} accuracy (mean, 95 % interval over seeds)", test ? "test" : "validation");
  return figure;
}

}  // namespace mpq
