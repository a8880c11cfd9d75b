// A figure from numbers: NAME.tsv (the data), NAME.gp (the gnuplot script), NAME.svg and NAME.png, side by side.
//
//   Figure figure{.title = "Accuracy by sparsity", .x_title = "sparsity (share of zeros)", .y_title = "test accuracy"};
//   Curve curve{.name = "l1", .spread = Curve::Spread::bars};
//   for (double sparsity : {.1, .5, .9}) add_mean(curve, sparsity, accuracies_of_the_seeds(sparsity));
//   figure.curves = {curve, control_line("float32, same epochs", .1, .9, accuracies_of_the_control)};
//   write_figure(figure, folder, "pruning");
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace mpq {

struct Curve {
  // marks: points alone; points: many, half transparent; control: a dashed black line, what the others are compared
  // with
  enum class Look { line, marks, step, points, control };
  enum class Spread { band, bars };
  std::string name;
  std::vector<double> x, y;
  std::vector<double> low, high;  // an interval around y, NaN where a point has none; or empty
  Look look = Look::line;
  Spread spread = Spread::band;  // how intervals are drawn
};

struct Figure {
  std::string title, x_title, y_title;  // axis titles with their units
  std::vector<Curve> curves;
  bool logarithmic_x = false;             // to base 2
  std::vector<double> x_labels;           // where the axis is labelled; empty: gnuplot's choice
  std::vector<std::string> x_names = {};  // instead, what stands at 0, 1, 2 ...
};

// A point at x: the mean of the values, with its 95 % interval (mean_of) where there are several.
void add_mean(Curve& curve, double x, std::span<const double> values);
// A horizontal line from x = `from` to `to`: the mean of the control's values, its interval as a band.
Curve control_line(const std::string& name, double from, double to, std::span<const double> values);

// Writes the data and the script, then lets gnuplot draw. Every file is written whole or not at all. Where gnuplot is
// missing or fails it warns and returns false: data and script are kept, `gnuplot NAME.gp` draws them later.
bool write_figure(const Figure& figure, const std::filesystem::path& folder, const std::string& name);

}  // namespace mpq
