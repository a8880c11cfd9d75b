// The two figures of a search: how each study's best grew with its trials, and what accuracy each size buys.
#pragma once
#include <string>
#include <vector>

#include "app/figure.h"

namespace mpq {

struct SearchPoint {
  double accuracy;  // of the split that selects; NaN: the trial has none (over budget, failed)
  double size;      // what the search weighs accuracy against
};

// One study, its trials by number.
struct SearchSeries {
  std::string study;
  std::vector<SearchPoint> trials;
};

// What the figures of a search say.
struct SearchTexts {
  std::string studies = "number format";  // what a curve stands for
  std::string split = "validation";       // that selects
  std::string control = "float32 (control)";
  std::string size = "average bits per Linear weight, shared exponents and scales counted";
};

// x: trial number; y: the best accuracy so far; one curve a study, the control dashed.
Figure best_so_far_figure(const std::vector<SearchSeries>& series, const SearchPoint& control,
                          const SearchTexts& texts);

// x: size; y: accuracy; every trial a light point, the Pareto front of them all a step line.
Figure pareto_figure(const std::vector<SearchSeries>& series, const SearchPoint& control, const SearchTexts& texts);

// The points that no other point beats in size without losing accuracy, by ascending size.
std::vector<SearchPoint> pareto_front(std::vector<SearchPoint> points);

}  // namespace mpq
