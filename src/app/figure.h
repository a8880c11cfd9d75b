// A figure from numbers: NAME.tsv (the data), NAME.gp (the gnuplot script), NAME.svg and NAME.png, side by side.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace mpq {

struct Curve {
  enum class Look { line, step, points, control };  // control: a dashed black line, what the others are compared with
  std::string name;
  std::vector<double> x, y;
  std::vector<double> low, high;  // a band around y; or empty
  Look look = Look::line;
};

struct Figure {
  std::string title, x_title, y_title;
  std::vector<Curve> curves;
  bool logarithmic_x = false;
};

// Writes the data and the script, then lets gnuplot draw. Every file is written whole or not at all. Where gnuplot is
// missing or fails it warns and returns false: data and script are kept, `gnuplot NAME.gp` draws them later.
bool write_figure(const Figure& figure, const std::filesystem::path& folder, const std::string& name);

}  // namespace mpq
