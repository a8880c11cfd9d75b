#include "app/search_figures.h"

#include <algorithm>
#include <cmath>

namespace mpq {
namespace {

Curve best_curve(const SearchSeries& series) {
  Curve curve{.name = series.family};
  double best = -1;
  for (size_t i = 0; i < series.trials.size(); ++i) {
    if (!std::isnan(series.trials[i].accuracy)) best = std::max(best, series.trials[i].accuracy);
    if (best < 0) continue;
    curve.x.push_back(static_cast<double>(i));
    curve.y.push_back(best);
  }
  return curve;
}

Curve horizontal(const std::string& name, double from, double to, double y) {
  return {.name = name, .x = {from, to}, .y = {y, y}, .look = Curve::Look::control};
}

}  // namespace

Figure best_so_far_figure(const std::vector<SearchSeries>& series, double float_accuracy, const std::string& split) {
  Figure figure{.title = "Best accuracy found so far, by number format",
                .x_title = "trial number",
                .y_title = "best " + split + " accuracy so far"};
  size_t trials = 1;
  for (const SearchSeries& s : series) {
    figure.curves.push_back(best_curve(s));
    trials = std::max(trials, s.trials.size());
  }
  figure.curves.push_back(horizontal("float32 (control)", 0, static_cast<double>(trials - 1), float_accuracy));
  return figure;
}

std::vector<SearchPoint> pareto_front(std::vector<SearchPoint> points) {
  std::erase_if(points, [](const SearchPoint& p) { return std::isnan(p.accuracy); });
  std::sort(points.begin(), points.end(), [](const SearchPoint& a, const SearchPoint& b) {
    return a.bits != b.bits ? a.bits < b.bits : a.accuracy > b.accuracy;
  });
  std::vector<SearchPoint> front;
  for (const SearchPoint& p : points)
    if (front.empty() || p.accuracy > front.back().accuracy) front.push_back(p);
  return front;
}

Figure pareto_figure(const std::vector<SearchSeries>& series, double float_accuracy, const std::string& split) {
  Figure figure{.title = "What accuracy each size buys",
                .x_title = "average bits per Linear weight, shared exponents and scales counted",
                .y_title = split + " accuracy",
                .logarithmic_x = true};
  std::vector<SearchPoint> all;
  for (const SearchSeries& s : series) {
    Curve curve{.name = s.family, .look = Curve::Look::points};
    for (const SearchPoint& p : s.trials) {
      if (std::isnan(p.accuracy)) continue;
      curve.x.push_back(p.bits);
      curve.y.push_back(p.accuracy);
      all.push_back(p);
    }
    figure.curves.push_back(std::move(curve));
  }
  Curve front{.name = "Pareto front", .look = Curve::Look::step};
  for (const SearchPoint& p : pareto_front(all)) {
    front.x.push_back(p.bits);
    front.y.push_back(p.accuracy);
  }
  if (!front.x.empty() && front.x.back() < 32) {  // what the front's last point buys, out to the width of float32
    front.x.push_back(32);
    front.y.push_back(front.y.back());
  }
  const double narrowest = front.x.empty() ? 1 : front.x.front();
  figure.curves.push_back(std::move(front));
  figure.curves.push_back(horizontal("float32 (control)", narrowest, 32, float_accuracy));
  return figure;
}

}  // namespace mpq
