// --precision tf32 and bf16 on a GPU: matrix products and attention lose what their operands' last bits are worth.
#include <gtest/gtest.h>

#include "tests/devices.h"
#include "tests/op_rows.h"

namespace mpq {
namespace {

double largest_distance(const Floats& a, const naive::Array<double>& exact) {
  double worst = 0;
  for (size_t i = 0; i < exact.size() && !std::isnan(worst); ++i)
    if (const double d = std::abs(a[i] - exact[i]); !(d <= worst)) worst = d;
  return worst;
}
double largest(const naive::Array<double>& exact) { return largest_distance(Floats(exact.size()), exact); }

class PrecisionTest : public DeviceTest {
 protected:
  // The error of every output of the operation, as a share of the largest value.
  void expect_errors_within(Precision precision, double share, const OpRow& op, const Problem& problem) {
    const auto device = open_device("cuda", precision);
    Rig rig(*device);
    DeviceSide side(rig, problem);
    const std::vector<Tensor> outputs = op.run(side);
    rig.expect_guards_intact();
    const auto exact = op.exact(problem, problem.replicas[0]);
    for (size_t i = 0; i < exact.size(); ++i)
      EXPECT_LE(largest_distance(rig.read(outputs[i]), exact[i]), share * largest(exact[i]))
          << op.name << ", " << problem.text() << ", output " << i << ", " << to_text(precision);
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, PrecisionTest, testing::Values("cuda"), device_test_name);

// Heads of every kind of tile and of none: as wide as a tile, narrower, too wide, odd. The bounds allow for the
// sixteenfold of what one operand's rounding does.
TEST_P(PrecisionTest, HeadsOfAnyWidth) {
  for (const int width : {4, 12, 32, 48, 64, 96, 128, 192, 256, 260, 50}) {
    const Problem problem{.lengths = {70, 1, 33, 130}, .C = 2 * width, .heads = 2, .p = 0.1f};
    for (const OpRow& op : op_rows) {
      if (std::string(op.name) != "attention") continue;
      expect_errors_within(Precision::tf32, 0x1p-8, op, problem);
      expect_errors_within(Precision::bf16, 0x1p-5, op, problem);
    }
  }
}

// An operand is rounded to 8 bits (bf16) or 11: by 2^-9 or 2^-12 of itself at most. The bounds allow for the eightfold.
TEST_P(PrecisionTest, LosesTheLastBitsOfOperands) {
  const std::vector<Problem> problems = {{.lengths = {70, 1, 33, 130}, .C = 128, .heads = 4, .p = 0.1f},
                                         {.lengths = {17, 300, 2}, .C = 256, .heads = 4}};
  for (const OpRow& op : op_rows) {
    if (std::string(op.name) != "linear" && std::string(op.name) != "attention") continue;
    for (const Problem& problem : problems) {
      expect_errors_within(Precision::tf32, 0x1p-9, op, problem);
      expect_errors_within(Precision::bf16, 0x1p-6, op, problem);
    }
  }
}

}  // namespace
}  // namespace mpq
