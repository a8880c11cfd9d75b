// What chooses open scales: the values that Linears hold and read.
#include "train/calibration.h"

#include "base/parallel.h"
#include "tests/small_session.h"

namespace mpq {
namespace {

class CalibrationTest : public DeviceTest {
 protected:
  std::unique_ptr<Session> floats() { return open_session(*device_, model_, {replica(model_, {})}); }
  std::vector<std::vector<OpenLinear>> open(const std::vector<std::string>& formats) const {
    std::vector<std::vector<OpenLinear>> all;
    for (const std::string& format : formats) all.emplace_back(model_.linears().size(), parse_open_linear(format));
    return all;
  }

  const Bert model_{small};
  const Batch rows_ = batch_of({5, 1, 20, 3}, 7);
};
MPQ_ON_EVERY_DEVICE(CalibrationTest);

TEST_P(CalibrationTest, EveryLinearIsSeenOnceAndTheClassifiersInputGivesTheLogits) {
  const auto session = floats();
  std::vector<int> seen(model_.linears().size());
  Floats x;
  session->observe(rows_, [&](const Linear& linear, std::span<const float> values) {
    ++seen[linear.index];
    if (&linear == &model_.classifier) x.assign(values.begin(), values.end());
  });
  EXPECT_EQ(seen, std::vector<int>(seen.size(), 1));
  const Floats logits = session->logits(rows_)[0], w = session->get(0, *model_.classifier.weight),
               b = session->get(0, *model_.classifier.bias);
  ASSERT_EQ(x.size(), 4u * small.hidden);
  for (int row = 0; row < 4; ++row)
    for (int c = 0; c < small.classes; ++c) {
      double sum = b[c];
      for (int k = 0; k < small.hidden; ++k) sum += double{x[row * small.hidden + k]} * w[c * small.hidden + k];
      EXPECT_NEAR(logits[row * small.classes + c], sum, 1e-6);
    }
}

TEST_P(CalibrationTest, EveryOperandIsFittedToItsOwnValues) {
  const auto session = floats();
  std::map<int, Floats> inputs;
  session->observe(rows_,
                   [&](const Linear& l, std::span<const float> x) { inputs[l.index].assign(x.begin(), x.end()); });
  const std::string half_open = "x=log(width=4,bias=auto);w=integer(width=4,frac=auto);b=integer(width=8,frac=3)";
  for (const FitRule rule : {FitRule::max, FitRule::mse}) {
    const auto closed = calibrate(*session, rows_, open({"integer(width=4,frac=auto)", half_open}), rule);
    for (const Linear* linear : model_.linears()) {
      const QuantSpec four = parse_format("integer(width=4,frac=0)");
      const Floats w = session->get(0, *linear->weight), b = session->get(0, *linear->bias);
      const LinearSpec &all = closed[0][linear->index], &some = closed[1][linear->index];
      EXPECT_EQ(to_text(all.x), to_text(fit(four, inputs.at(linear->index), rule))) << linear->name;
      EXPECT_EQ(to_text(all.w), to_text(fit(four, w, rule))) << linear->name;
      EXPECT_EQ(to_text(all.b), to_text(fit(four, b, rule))) << linear->name;
      EXPECT_EQ(to_text(some.x), to_text(fit(parse_format("log(width=4,bias=0)"), inputs.at(linear->index), rule)));
      EXPECT_EQ(to_text(some.w), to_text(all.w));
      EXPECT_EQ(to_text(some.b), "integer(width=8,frac=3)");
    }
    const int before = threads();
    set_threads(1);
    EXPECT_EQ(calibrate(*session, rows_, open({"integer(width=4,frac=auto)", half_open}), rule), closed);
    set_threads(before);
  }
}

TEST_P(CalibrationTest, RowsAreSpreadOverTheSplit) {
  const Split split = random_rows({3, 4, 5, 6, 7, 8, 9, 10}, 1);
  EXPECT_EQ(calibration_rows(split, 4).rows, (std::vector<int64_t>{0, 2, 4, 6}));
  EXPECT_EQ(calibration_rows(split, 99).row_count(), 8);
}

}  // namespace
}  // namespace mpq
