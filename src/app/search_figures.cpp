#include "app/search_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace mpq {
namespace {

Curve best_curve(const SearchSeries& series) {
  Curve curve{.name = series.study};
  double best = -1;
  for (size_t i = 0; i < series.trials.size(); ++i) {
    if (!std::isnan(series.trials[i].accuracy)) best = std::max(best, series.trials[i].accuracy);
    if (best < 0) continue;
    curve.x.push_back(static_cast<double>(i));
    curve.y.push_back(best);
  }
  return curve;
}

}  // namespace

Figure best_so_far_figure(const std::vector<SearchSeries>& series, const SearchPoint& control,
                          const SearchTexts& texts) {
  Figure figure{.title = "Best accuracy found so far, by " + texts.studies,
                .x_title = "trial number",
                .y_title = fmt::format("best {} accuracy so far", texts.split)};
  size_t trials = 1;
  for (const SearchSeries& s : series) {
    figure.curves.push_back(best_curve(s));
    trials = std::max(trials, s.trials.size());
  }
  figure.curves.push_back(
      control_line(texts.control, 0, static_cast<double>(trials - 1), std::span(&control.accuracy, 1)));
  return figure;
}

std::vector<SearchPoint> pareto_front(std::vector<SearchPoint> points) {
  std::erase_if(points, [](const SearchPoint& p) { return std::isnan(p.accuracy); });
  std::sort(points.begin(), points.end(), [](const SearchPoint& a, const SearchPoint& b) {
    return a.size != b.size ? a.size < b.size : a.accuracy > b.accuracy;
  });
  std::vector<SearchPoint> front;
  for (const SearchPoint& p : points)
    if (front.empty() || p.accuracy > front.back().accuracy) front.push_back(p);
  return front;
}

Figure pareto_figure(const std::vector<SearchSeries>& series, const SearchPoint& control, const SearchTexts& texts) {
  Figure figure{.title = "What accuracy each size buys",
                .x_title = texts.size,
                .y_title = texts.split + " accuracy",
                .logarithmic_x = true};
  std::vector<SearchPoint> all;
  double largest = control.size;
  for (const SearchSeries& s : series) {
    Curve curve{.name = s.study, .look = Curve::Look::points};
    for (const SearchPoint& p : s.trials) {
      if (std::isnan(p.accuracy)) continue;
      curve.x.push_back(p.size);
      curve.y.push_back(p.accuracy);
      all.push_back(p);
      largest = std::max(largest, p.size);
    }
    figure.curves.push_back(std::move(curve));
  }
  Curve front{.name = "Pareto front", .look = Curve::Look::step};
  for (const SearchPoint& p : pareto_front(all)) {
    front.x.push_back(p.size);
    front.y.push_back(p.accuracy);
  }
  const double smallest = front.x.empty() ? 1 : front.x.front();
  if (!front.x.empty() && front.x.back() < largest) {  // what the front's last point buys
    front.x.push_back(largest);
    front.y.push_back(front.y.back());
  }
  figure.curves.push_back(std::move(front));
  figure.curves.push_back(control_line(texts.control, smallest, largest, std::span(&control.accuracy, 1)));
  return figure;
}

}  // namespace mpq
