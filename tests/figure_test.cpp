#include "app/figure.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
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
