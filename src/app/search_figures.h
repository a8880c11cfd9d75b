// The figures of a search: how each study's best grew with its trials, what accuracy each size buys, what the winners
// are worth with other seeds, and what selecting on the test split claims.
#pragma once
#include <limits>
#include <string>
#include <vector>

#include "app/figure.h"

namespace mpq {

struct SearchPoint {
  double accuracy;  // of the split that selects; NaN: the trial has none (over budget, failed)
  double size;      // what the search weighs accuracy against
  double test = std::numeric_limits<double>::quiet_NaN();  // accuracy of a watched test split
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

// A winner trained with other seeds: their test accuracies.
struct SeededWinner {
  std::string study;
  double size;
  std::vector<double> accuracies;
};
// x: size; y: mean and interval over the seeds, the control's as a line with a band.
Figure winners_figure(const std::vector<SeededWinner>& winners, const SeededWinner& control, const SearchTexts& texts);

// x: trial number; y: the best test accuracy so far, as selecting on it claims, and the test accuracy of what
// validation selects; of several studies the means, with intervals. Studies that end early stay where they ended.
Figure selection_figure(const std::vector<SearchSeries>& series, double control, const SearchTexts& texts);

// The points that no other point beats in size without losing accuracy, by ascending size.
std::vector<SearchPoint> pareto_front(std::vector<SearchPoint> points);

}  // namespace mpq
