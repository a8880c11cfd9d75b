#include "app/search_figures.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mpq {
namespace {

const std::vector<SearchSeries> two_families{{"integer", {{NAN, 4}, {.7, 4}, {.6, 3}, {.8, 8}, {NAN, 8}}},
                                             {"log", {{.75, 4}}}};

TEST(SearchFigures, BestSoFarNeverFallsAndSkipsTrialsWithoutValue) {
  const Figure figure = best_so_far_figure(two_families, {.85, 32}, {});
  ASSERT_EQ(figure.curves.size(), 3u);
  EXPECT_EQ(figure.curves[0].x, (std::vector<double>{1, 2, 3, 4}));
  EXPECT_EQ(figure.curves[0].y, (std::vector<double>{.7, .7, .8, .8}));
  EXPECT_EQ(figure.curves[1].y, (std::vector<double>{.75}));
  EXPECT_EQ(figure.curves[2].x, (std::vector<double>{0, 4}));
  EXPECT_EQ(figure.curves[2].look, Curve::Look::control);
}

TEST(SearchFigures, ParetoFrontKeepsWhatNothingBeats) {
  const auto front = pareto_front({{.7, 4}, {.75, 4}, {.6, 3}, {.75, 6}, {.8, 8}, {.79, 9}, {NAN, 1}});
  ASSERT_EQ(front.size(), 3u);
  EXPECT_EQ(front[0].size, 3);
  EXPECT_EQ(front[1].size, 4);
  EXPECT_EQ(front[1].accuracy, .75);
  EXPECT_EQ(front[2].size, 8);
}

TEST(SearchFigures, ParetoFigureShowsEveryTrialAndTheFront) {
  const Figure figure = pareto_figure(two_families, {.85, 32}, {});
  ASSERT_EQ(figure.curves.size(), 4u);
  EXPECT_EQ(figure.curves[0].x, (std::vector<double>{4, 3, 8}));
  EXPECT_EQ(figure.curves[2].x, (std::vector<double>{3, 4, 8, 32}));
  EXPECT_EQ(figure.curves[2].y, (std::vector<double>{.6, .75, .8, .8}));
}

TEST(SearchFigures, SayWhatWasSearchedAndWhichSplitSelected) {
  const Figure figure = pareto_figure(two_families, {.85, 5}, {.split = "test", .control = "tiny", .size = "MB"});
  EXPECT_EQ(figure.x_title, "MB");
  EXPECT_EQ(figure.y_title, "test accuracy");
  EXPECT_EQ(figure.curves.back().name, "tiny");
  EXPECT_EQ(figure.curves.back().x, (std::vector<double>{3, 8})) << "to the largest trial";
}

}  // namespace
}  // namespace mpq
