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

// Of one study, after every trial: the test accuracy that each split selects so far; NaN before the first.
struct Selected {
  std::vector<double> on_test, on_validation;
};
Selected selected_so_far(const SearchSeries& series) {
  Selected so_far;
  double best = -1, best_test = -1, its_test = std::nan("");
  for (const SearchPoint& p : series.trials) {
    if (!std::isnan(p.test)) {
      best_test = std::max(best_test, p.test);
      if (p.accuracy > best) best = p.accuracy, its_test = p.test;
    }
    so_far.on_test.push_back(best_test < 0 ? std::nan("") : best_test);
    so_far.on_validation.push_back(its_test);
  }
  return so_far;
}

void add_mean_after(Curve& curve, size_t trial, const std::vector<std::vector<double>>& studies) {
  std::vector<double> values;
  for (const std::vector<double>& study : studies)
    if (const double value = study[std::min(trial, study.size() - 1)]; !std::isnan(value)) values.push_back(value);
  if (!values.empty()) add_mean(curve, static_cast<double>(trial), values);
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

Figure winners_figure(const std::vector<SeededWinner>& winners, const SeededWinner& control, const SearchTexts& texts) {
  Figure figure{.title = "Each winner, trained again with other seeds: mean and 95 % interval",
                .x_title = texts.size,
                .y_title = "test accuracy",
                .logarithmic_x = true};
  double smallest = control.size, largest = control.size;  // of what is drawn, with some room beside it
  for (const SeededWinner& winner : winners) {
    Curve curve{.name = winner.study, .spread = Curve::Spread::bars};
    add_mean(curve, winner.size, winner.accuracies);
    smallest = std::min(smallest, winner.size), largest = std::max(largest, winner.size);
    figure.curves.push_back(std::move(curve));
  }
  figure.curves.push_back(control_line(texts.control, smallest / 1.1, largest * 1.1, control.accuracies));
  return figure;
}

Figure selection_figure(const std::vector<SearchSeries>& series, double control, const SearchTexts& texts) {
  std::vector<std::vector<double>> on_test, on_validation;
  size_t trials = 1;
  for (const SearchSeries& s : series) {
    if (s.trials.empty()) continue;
    Selected selected = selected_so_far(s);
    on_test.push_back(std::move(selected.on_test));
    on_validation.push_back(std::move(selected.on_validation));
    trials = std::max(trials, s.trials.size());
  }
  Curve claimed{.name = "selected on test: its claim"}, honest{.name = "selected on validation"};
  for (size_t i = 0; i < trials; ++i) add_mean_after(claimed, i, on_test), add_mean_after(honest, i, on_validation);
  const std::string over =
      on_test.size() > 1 ? fmt::format(", mean and 95 % interval over {} studies", on_test.size()) : "";
  return {.title = "What selecting on the test split claims" + over,
          .x_title = "trial number",
          .y_title = "test accuracy of the best so far",
          .curves = {claimed, honest,
                     control_line(texts.control, 0, static_cast<double>(trials - 1), std::span(&control, 1))}};
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
