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

TEST(SearchFigures, WinnersHaveIntervalsAndTheControlABand) {
  const Figure figure = winners_figure({{"integer", 8, {.8, .82, .84}}, {"log", 4, {.7}}}, {"none", 32, {.9, .86}}, {});
  ASSERT_EQ(figure.curves.size(), 3u);
  EXPECT_EQ(figure.curves[0].x, (std::vector<double>{8}));
  EXPECT_NEAR(figure.curves[0].y[0], .82, 1e-12);
  EXPECT_NEAR(figure.curves[0].high[0] - .82, 4.302653 * .02 / std::sqrt(3), 1e-6);
  EXPECT_TRUE(std::isnan(figure.curves[1].low[0])) << "one seed has no interval";
  EXPECT_EQ(figure.curves[2].x, (std::vector<double>{4 / 1.1, 32 * 1.1}));
  EXPECT_NEAR(figure.curves[2].y[1], .88, 1e-12);
}

// Validation prefers trial 2, test trial 0; the first of equals stays.
TEST(SearchFigures, SelectionShowsTheClaimAndWhatValidationSelects) {
  const std::vector<SearchSeries> one{{"a", {{.5, 8, .9}, {NAN, 8, NAN}, {.7, 8, .6}, {.7, 8, .8}}}};
  Figure figure = selection_figure(one, .85, {});
  ASSERT_EQ(figure.curves.size(), 3u);
  EXPECT_EQ(figure.curves[0].y, (std::vector<double>{.9, .9, .9, .9}));
  EXPECT_EQ(figure.curves[1].y, (std::vector<double>{.9, .9, .6, .6}));
  EXPECT_EQ(figure.curves[2].y, (std::vector<double>{.85, .85}));
  figure = selection_figure({one[0], {"b", {{.5, 8, .5}}}}, .85, {});
  EXPECT_NEAR(figure.curves[0].y[3], .7, 1e-12) << "the mean of both, the shorter one where it ended";
  EXPECT_NEAR(figure.curves[1].y[3], .55, 1e-12);
  EXPECT_NE(figure.title.find("2 studies"), std::string::npos);
}

}  // namespace
}  // namespace mpq
