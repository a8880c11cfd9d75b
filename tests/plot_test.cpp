// mpq plot as a user meets it.
#include "tests/run_mpq.h"

namespace mpq {
namespace {

class PlotTest : public RunMpq {
 protected:
  void SetUp() override {
    write_file_atomic(
        path("runs.tsv"),
        "way\twidth\tname\tseed\taccuracy\nplain\t8\teight\t1\t0.5\nplain\t8\teight\t2\t0.7\nplain\t4\tfour\t1\t0."
        "4\nfloat\t0\tfour\t1\t0.9\nfloat\t0\tfour\t2\t0.8\n");
  }
  Outcome plot(const std::string& more) { return mpq("plot --json --in {}/runs.tsv --curve way --y accuracy " + more); }
};

TEST_F(PlotTest, RepeatedRowsAreMeansWithIntervals) {
  const Outcome outcome = plot("--x width --control float --log-x --title T --out {}/figures/by_width");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto lines = split(trim(outcome.out), '\n');
  ASSERT_EQ(lines.size(), 3u) << outcome.out;  // plain at 4 and 8, float at 0
  const auto eight = nlohmann::json::parse(lines[1]);
  EXPECT_EQ(eight.at("n"), 2);
  EXPECT_EQ(eight.at("mean"), 0.6);
  EXPECT_EQ(eight.at("95% high"), 1.8706) << "0.6 + 12.706 x 0.1";
  EXPECT_EQ(nlohmann::json::parse(lines[0]).at("95% low"), "-") << "one value has no interval";
  const std::string data = file("figures/by_width.tsv");
  EXPECT_NE(data.find("float\t"), std::string::npos) << data;
  EXPECT_NE(file("figures/by_width.gp").find("set logscale x 2"), std::string::npos);
}

TEST_F(PlotTest, NamesAreDrawnInTheirOrder) {
  ASSERT_EQ(plot("--x name --out {}/named").code, 0);
  EXPECT_NE(file("named.gp").find("('eight' 0, 'four' 1)"), std::string::npos) << file("named.gp");
}

TEST_F(PlotTest, BadInputIsAUserError) {
  write_file_atomic(path("empty.tsv"), "way\twidth\taccuracy\n");
  write_file_atomic(path("short.tsv"), "way\twidth\taccuracy\nplain\t8\n");
  for (const auto& [options, words] :
       std::vector<std::pair<std::string, std::string>>{{"--x widht --out {}/a", "no column widht"},
                                                        {"--x width --control none --out {}/a", "no such curve"},
                                                        {"--x name --log-x --out {}/a", "eight is no number"},
                                                        {"--x width --in {}/empty.tsv --out {}/a", "no rows"},
                                                        {"--x width --in {}/short.tsv --out {}/a", "line 2"},
                                                        {"--x width --in {}/nowhere.tsv --out {}/a", "nowhere.tsv"},
                                                        {"--x width", "--out"}}) {
    const std::string in = options.find("--in") == std::string::npos ? "--in {}/runs.tsv " : "";
    const Outcome outcome = mpq("plot --curve way --y accuracy " + in + options);
    EXPECT_EQ(outcome.code, 2) << options;
    EXPECT_NE(outcome.err.find(words), std::string::npos) << options << "\n" << outcome.err;
  }
}

}  // namespace
}  // namespace mpq
