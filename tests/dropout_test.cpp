// Dropout masks on devices: their share, and that they follow the logical element and not where it lies. That they are
// the masks of base/philox.h, in every operation, ops_test says.
#include <gtest/gtest.h>

#include "tests/devices.h"
#include "tests/naive/ops.h"
#include "tests/rig.h"

namespace mpq {
namespace {

struct Draw {
  float p = 0.1f;
  uint64_t seed = 42;
  int64_t step = 5;
  uint32_t site = 3;
};

class DropoutTest : public DeviceTest {
 protected:
  // The factors [T, N] of a batch: dropout of ones, as the output of a Linear 1 -> N.
  Floats factors(const std::vector<int32_t>& lengths, int64_t N, const Draw& draw) {
    Rig rig(*device_);
    const naive::Rows rows(lengths);
    const int64_t T = rows.count();
    const Linear1 op{
        .ragged = {rig.array(rows.starts), rows.sequences(), T, *std::max_element(lengths.begin(), lengths.end())},
        .x = rig.tensor({T, 1}, {Floats(T, 1)}),
        .w = rig.tensor({N, 1}, {Floats(N, 1)}),
        .dropout = {draw.p, rig.array(std::vector<uint64_t>{draw.seed}), rig.array(std::vector<int64_t>{draw.step}),
                    draw.site},
        .y = rig.empty({T, N})};
    rig.ops().linear({&op, 1});
    rig.expect_guards_intact();
    return rig.read(op.y);
  }
};
MPQ_ON_EVERY_DEVICE(DropoutTest);

TEST_P(DropoutTest, KeepsItsShare) {
  for (float p : {0.05f, 0.1f, 0.5f, 0.9f}) {
    const Floats f = factors({200, 100}, 256, {.p = p});
    double kept = 0;
    for (float x : f) {
      EXPECT_TRUE(x == 0 || x == 1 / (1 - p));
      kept += x != 0;
    }
    const double n = static_cast<double>(f.size());
    EXPECT_NEAR(kept / n, 1 - p, 4 * std::sqrt(p * (1 - p) / n) + 0x1p-16);  // p is met to 16 bits
  }
}

TEST_P(DropoutTest, FollowsTheElementNotThePacking) {
  const std::vector<int32_t> one = {7, 2, 9}, other = {3, 40, 11};
  const naive::Rows a(one), b(other);
  const Floats x = factors(one, 40, {}), y = factors(other, 130, {});
  for (int s = 0; s < a.sequences(); ++s)
    for (int i = 0; i < std::min(a.length(s), b.length(s)); ++i)
      for (int c = 0; c < 40; ++c) ASSERT_EQ(x[(a.starts[s] + i) * 40 + c], y[(b.starts[s] + i) * 130 + c]);
}

TEST_P(DropoutTest, DiffersBySeedStepAndSite) {
  const Floats base = factors({50}, 64, {});
  for (const Draw& d : {Draw{.seed = 43}, Draw{.seed = 42 + (uint64_t{1} << 32)}, Draw{.step = 6}, Draw{.site = 4}}) {
    const Floats other = factors({50}, 64, d);
    int different = 0;
    for (size_t i = 0; i < base.size(); ++i) different += base[i] != other[i];
    // Independent masks differ at 2 p (1 - p) of 3200 elements.
    EXPECT_NEAR(different, 0.18 * 3200, 4 * std::sqrt(3200 * 0.18 * 0.82));
  }
}

}  // namespace
}  // namespace mpq
