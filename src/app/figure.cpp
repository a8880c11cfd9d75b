#include "app/figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "app/drawing.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/statistics.h"
#include "base/text.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {

// Paul Tol's "muted" and "bright" qualitative schemes: told apart with any colour vision, aided by dashes and points.
constexpr const char* colours[] = {"#332288", "#CC6677", "#117733", "#DDAA33", "#88CCEE", "#882255",
                                   "#44AA99", "#EE7733", "#AA4499", "#999933", "#0077BB", "#777777"};
constexpr int points[] = {7, 5, 9, 13, 11, 6, 4, 8, 12, 10, 2, 1};

// Single quotes are gnuplot's literal strings; a quote inside is doubled.
std::string quote(const std::string& text) {
  std::string quoted = "'";
  for (char c : text) quoted += c == '\'' ? std::string("''") : std::string(1, c == '\n' ? ' ' : c);
  return quoted + "'";
}

std::string tsv(const Figure& figure) {
  std::string text = "curve\tx\ty\tlow\thigh\n";
  for (const Curve& curve : figure.curves) {
    check(curve.x.size() == curve.y.size() && curve.low.size() == curve.high.size(),
          "a curve's columns differ in length");
    check(curve.low.empty() || curve.low.size() == curve.x.size(), "a curve's band differs in length");
    for (size_t i = 0; i < curve.x.size(); ++i) {
      text += fmt::format("{}\t{}\t{}", curve.name, curve.x[i], curve.y[i]);
      const bool none = curve.low.empty() || std::isnan(curve.low[i]);
      text += none ? "\t\t\n" : fmt::format("\t{}\t{}\n", curve.low[i], curve.high[i]);
    }
  }
  return text;
}

// Controls are black, and told apart by their dashes.
std::string colour_of(const Curve& curve, size_t index) {
  return quote(curve.look == Curve::Look::control ? "black" : colours[index % std::size(colours)]);
}

// Where the colours begin again, points and dashes are others.
std::string style(const Curve& curve, size_t index) {
  const size_t i = index % std::size(colours), round = index / std::size(colours);
  const int point = points[(index + 5 * round) % std::size(points)];
  const size_t dash = std::array<size_t, 3>{1, 2, 4}[(index + round) % 3];
  switch (curve.look) {
    case Curve::Look::control:
      return fmt::format("with lines lc rgb 'black' dt {} lw 2", 2 + index % 4);
    case Curve::Look::points:  // half transparent
      return fmt::format("with points lc rgb '#80{}' pt {} ps 0.8", colours[i] + 1, point);
    case Curve::Look::marks:
      return fmt::format("with points lc rgb {} pt {} ps 1.2", colour_of(curve, index), point);
    case Curve::Look::step:
      return "with steps lc rgb '#BB2222' lw 3";
    case Curve::Look::line:
      break;
  }
  const size_t interval = curve.low.empty() ? std::max<size_t>(1, curve.x.size() / 8) : 1;  // points tell curves apart
  return fmt::format("with linespoints lc rgb {} dt {} lw 2 pt {} ps 0.8 pi {}", colour_of(curve, index), dash, point,
                     interval);
}

std::string spread_of(const Curve& curve, size_t index) {
  const std::string colour = colour_of(curve, index);
  if (curve.spread == Curve::Spread::bars)
    return fmt::format("using 2:3:4:5 with yerrorbars lc rgb {} lw 1.5 ps 0 notitle", colour);
  return fmt::format("using 2:4:5 with filledcurves fc rgb {} fs transparent solid 0.15 notitle", colour);
}

// The rows of one curve: from line `first` of the file's data (0-based) on.
std::string plot_item(const std::string& data, const Curve& curve, size_t index, size_t first) {
  const std::string source = fmt::format("{} every ::{}::{}", quote(data), first, first + curve.x.size() - 1);
  const bool spread = std::any_of(curve.low.begin(), curve.low.end(), [](double low) { return !std::isnan(low); });
  const std::string item = spread ? fmt::format("{} {}, \\\n     ", source, spread_of(curve, index)) : "";
  return item + fmt::format("{} using 2:3 {} title {}", source, style(curve, index), quote(curve.name));
}

std::string x_labels(const Figure& figure) {
  if (!figure.x_names.empty()) {
    std::vector<std::string> names;
    for (size_t i = 0; i < figure.x_names.size(); ++i)
      names.push_back(fmt::format("{} {}", quote(figure.x_names[i]), i));
    return fmt::format("set xrange [-0.5:{}.5]\nset xtics rotate by 35 right noenhanced ({})\n", names.size() - 1,
                       join(names, ", "));
  }
  std::vector<std::string> labels;
  for (const double x : figure.x_labels) labels.push_back(fmt::format("{}", x));
  return labels.empty() ? "" : "set xtics (" + join(labels, ", ") + ")\n";
}

// Where intervals reach far beyond the points (of two seeds they do), the points decide what is seen.
std::string y_range(const Figure& figure) {
  const double infinite = std::numeric_limits<double>::infinity();
  double low = infinite, high = -infinite, lowest = infinite, highest = -infinite;
  for (const Curve& curve : figure.curves) {
    for (const double y : curve.y) low = std::min(low, y), high = std::max(high, y);
    for (const double y : curve.low) lowest = std::fmin(lowest, y);
    for (const double y : curve.high) highest = std::fmax(highest, y);
  }
  const double margin = 0.25 * std::max(high - low, 0.1 * std::abs(high));
  if (lowest >= low - margin && highest <= high + margin) return "";
  return fmt::format("set yrange [{:.6g}:{:.6g}]\n", low - margin, high + margin);
}

std::string script(const Figure& figure, const std::string& name) {
  std::string text = fmt::format(
      "# gnuplot {0}.gp draws {0}.svg and {0}.png from {0}.tsv\n"
      "set datafile separator tab\nset encoding utf8\nset title {1} noenhanced\n"
      "set xlabel {2} noenhanced\nset ylabel {3} noenhanced\n"
      "set key outside right top Left reverse noenhanced\nset grid lt 1 lw 1 lc rgb '#E4E4E4'\nset border 3\nset tics "
      "nomirror\n"
      "set autoscale xfix\nset offsets 0, 0, graph 0.05, graph 0.05\n{4}{5}{6}",
      name, quote(figure.title), quote(figure.x_title), quote(figure.y_title),
      figure.logarithmic_x ? "set logscale x 2\n" : "", x_labels(figure), y_range(figure));
  std::string plot;
  size_t row = 1;  // 0 is the header
  for (size_t i = 0; i < figure.curves.size(); ++i) {
    const Curve& curve = figure.curves[i];
    if (curve.x.empty()) continue;
    plot += (plot.empty() ? "plot " : ", \\\n     ") + plot_item(name + ".tsv", curve, i, row);
    row += curve.x.size();
  }
  text += fmt::format(
      "set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'\nset output '{}.svg'\n{}\n",
      name, plot);
  text += fmt::format(
      "set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5\nset output '{}.png'\n{}\n",
      name, plot);
  return text;
}

}  // namespace

void add_mean(Curve& curve, double x, std::span<const double> values) {
  check(!values.empty(), "the curve {} has no values at {}", curve.name, x);
  const Mean mean = mean_of(values);
  const bool known = std::isfinite(mean.interval.low);
  curve.x.push_back(x);
  curve.y.push_back(mean.mean);
  curve.low.push_back(known ? mean.interval.low : std::numeric_limits<double>::quiet_NaN());
  curve.high.push_back(known ? mean.interval.high : std::numeric_limits<double>::quiet_NaN());
}

Curve control_line(const std::string& name, double from, double to, std::span<const double> values) {
  Curve curve{.name = name, .look = Curve::Look::control};
  for (const double x : {from, to}) add_mean(curve, x, values);
  return curve;
}

bool write_figure(const Figure& figure, const fs::path& folder, const std::string& name) {
  check(std::any_of(figure.curves.begin(), figure.curves.end(), [](const Curve& c) { return !c.x.empty(); }),
        "the figure {} has no points", name);
  const std::string data = tsv(figure), plot = script(figure, name);
  write_file_atomic(folder / (name + ".tsv"), data);
  write_file_atomic(folder / (name + ".gp"), plot);
  AtomicFolder scratch(folder / (name + ".drawing"));  // never committed: only a place that cleans up after itself
  write_file_atomic(scratch.path() / (name + ".tsv"), data);
  write_file_atomic(scratch.path() / (name + ".gp"), plot);
  const std::string complaint = run_in(scratch.path(), {"gnuplot", name + ".gp"}, "gnuplot-nox");
  if (!complaint.empty()) {
    log().warn("{} is not drawn: {}; its data are in {}", name, complaint, (folder / (name + ".tsv")).string());
    return false;
  }
  for (const char* ending : {".svg", ".png"})
    write_file_atomic(folder / (name + ending), read_file(scratch.path() / (name + ending)));
  return true;
}

}  // namespace mpq
