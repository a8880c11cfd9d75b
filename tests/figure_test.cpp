#include "app/figure.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <set>
#include <sstream>

#include "base/file.h"
#include "base/statistics.h"
#include "tests/temporary_folder.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

class FigureTest : public testing::Test {
 protected:
  Figure figure() const {
    Figure f{"Best so far", "trial", "accuracy", {}};
    f.curves.push_back({"it's 8 bit", {0, 1, 2}, {0.5, 0.6, 0.7}});
    f.curves.push_back({"band", {0, 1}, {0.4, 0.5}, {0.3, 0.4}, {0.5, 0.6}});
    f.curves.push_back({"float", {0, 2}, {0.8, 0.8}, {}, {}, Curve::Look::control});
    return f;
  }
  TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

TEST_F(FigureTest, DataAreOneRowAPoint) {
  write_figure(figure(), folder_, "best");
  EXPECT_EQ(read_file(folder_ / "best.tsv"),
            "curve\tx\ty\tlow\thigh\n"
            "it's 8 bit\t0\t0.5\t\t\nit's 8 bit\t1\t0.6\t\t\nit's 8 bit\t2\t0.7\t\t\n"
            "band\t0\t0.4\t0.3\t0.5\nband\t1\t0.5\t0.4\t0.6\n"
            "float\t0\t0.8\t\t\nfloat\t2\t0.8\t\t\n");
}

TEST_F(FigureTest, GnuplotDrawsSvgAndPng) {
  if (std::system("gnuplot --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no gnuplot";
  ASSERT_TRUE(write_figure(figure(), folder_, "best"));
  const std::string svg = read_file(folder_ / "best.svg");
  EXPECT_NE(svg.find("it's 8 bit"), std::string::npos);
  EXPECT_NE(svg.find("Best so far"), std::string::npos);
  EXPECT_EQ(read_file(folder_ / "best.png").substr(1, 3), "PNG");
  int files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder_)) ++files;
  EXPECT_EQ(files, 4) << "something temporary was left behind";
}

TEST(FigureCurves, AMeanOfSeveralHasAnIntervalAndOneValueHasNone) {
  Curve curve{.name = "seeds"};
  const std::array three{.8, .9, .85}, one{.7, .7, .7};
  add_mean(curve, 4, three);
  add_mean(curve, 8, std::span(one).first(1));
  const Mean mean = mean_of(three);
  EXPECT_EQ(curve.y, (std::vector<double>{mean.mean, .7}));
  EXPECT_EQ(curve.low[0], mean.interval.low);
  EXPECT_EQ(curve.high[0], mean.interval.high);
  EXPECT_TRUE(std::isnan(curve.low[1]) && std::isnan(curve.high[1]));
  const Curve control = control_line("float", 4, 32, three);
  EXPECT_EQ(control.x, (std::vector<double>{4, 32}));
  EXPECT_EQ(control.y, (std::vector<double>{mean.mean, mean.mean}));
  EXPECT_EQ(control.look, Curve::Look::control);
}

TEST_F(FigureTest, IntervalsAreDrawnWhereThereAreAny) {
  Curve bars{.name = "bars", .x = {4, 8}, .y = {.5, .6}, .spread = Curve::Spread::bars};
  bars.low = {.4, NAN}, bars.high = {.6, NAN};
  Figure f{.title = "t", .x_title = "width (bits)", .y_title = "accuracy", .curves = {bars}, .x_labels = {4, 8}};
  write_figure(f, folder_, "bars");
  EXPECT_EQ(read_file(folder_ / "bars.tsv"), "curve\tx\ty\tlow\thigh\nbars\t4\t0.5\t0.4\t0.6\nbars\t8\t0.6\t\t\n");
  const std::string script = read_file(folder_ / "bars.gp");
  EXPECT_NE(script.find("yerrorbars"), std::string::npos);
  EXPECT_NE(script.find("set xtics (4, 8)"), std::string::npos);
  EXPECT_NE(script.find("set yrange [0.475:0.625]"), std::string::npos) << "wide intervals do not hide the points";
  f.curves[0].low = {.49, NAN}, f.curves[0].high = {.51, NAN};
  write_figure(f, folder_, "narrow");
  EXPECT_EQ(read_file(folder_ / "narrow.gp").find("yrange"), std::string::npos);
  f.curves[0].low = f.curves[0].high = {NAN, NAN};
  write_figure(f, folder_, "none");
  EXPECT_EQ(read_file(folder_ / "none.gp").find("yerrorbars"), std::string::npos);
}

TEST_F(FigureTest, NamesStandSideBySide) {
  Figure figure{.title = "t", .x_title = "x", .y_title = "y", .x_names = {"a_b", "it's"}};
  figure.curves.push_back({.name = "c", .x = {0, 1}, .y = {.5, .6}, .look = Curve::Look::marks});
  write_figure(figure, folder_, "names");
  const std::string script = read_file(folder_ / "names.gp");
  EXPECT_NE(script.find("set xrange [-0.5:1.5]"), std::string::npos) << script;
  EXPECT_NE(script.find("('a_b' 0, 'it''s' 1)"), std::string::npos) << script;
}

TEST_F(FigureTest, ManyCurvesAllLookDifferent) {
  Figure f{.title = "t", .x_title = "x", .y_title = "y"};
  for (int i = 0; i < 24; ++i) f.curves.push_back({.name = "c", .x = {0, 1}, .y = {0, 1}});
  write_figure(f, folder_, "many");
  std::istringstream script(read_file(folder_ / "many.gp"));
  std::set<std::string> looks;
  for (std::string line; std::getline(script, line);)
    if (const size_t at = line.find("with linespoints"); at != std::string::npos)
      looks.insert(line.substr(at, line.find(" title") - at));
  EXPECT_EQ(looks.size(), f.curves.size());
}

TEST_F(FigureTest, TheSameNumbersGiveTheSameFiles) {
  bool drawn = true;
  for (const char* name : {"one", "two"}) {
    std::filesystem::create_directory(folder_ / name);
    drawn &= write_figure(figure(), folder_ / name, "best");
  }
  const auto expect_same = [&](const char* file) {
    EXPECT_EQ(read_file(folder_ / "one" / file), read_file(folder_ / "two" / file)) << file;
  };
  expect_same("best.tsv"), expect_same("best.gp");
  if (std::system("gnuplot --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no gnuplot: pictures were not compared";
  ASSERT_TRUE(drawn);
  expect_same("best.svg"), expect_same("best.png");
}

TEST_F(FigureTest, WithoutGnuplotTheDataStay) {
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", folder_.c_str(), 1);
  const bool drawn = write_figure(figure(), folder_, "best");
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_FALSE(drawn);
  EXPECT_TRUE(fs::exists(folder_ / "best.tsv"));
  EXPECT_TRUE(fs::exists(folder_ / "best.gp"));
  EXPECT_FALSE(fs::exists(folder_ / "best.png"));
}

}  // namespace
}  // namespace mpq
