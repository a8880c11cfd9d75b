// The two figures of a search: how each family's best grew with its trials, and what accuracy each size buys.
#pragma once
#include <string>
#include <vector>

#include "app/figure.h"

namespace mpq {

struct SearchPoint {
  double accuracy;  // of the split that selects; NaN: the trial has none (over budget, failed)
  double bits;      // average bits a Linear weight, shared exponents and scales counted
};

// One study, its trials by number.
struct SearchSeries {
  std::string family;
  std::vector<SearchPoint> trials;
};

// Accuracies of `split`, "validation" or "test".
// x: trial number; y: the best accuracy so far; one curve a family, the float control dashed.
Figure best_so_far_figure(const std::vector<SearchSeries>& series, double float_accuracy, const std::string& split);

// x: bits; y: accuracy; every trial a light point, the Pareto front of them all a step line.
Figure pareto_figure(const std::vector<SearchSeries>& series, double float_accuracy, const std::string& split);

// The points that no other point beats in bits without losing accuracy, by ascending bits.
std::vector<SearchPoint> pareto_front(std::vector<SearchPoint> points);

}  // namespace mpq
