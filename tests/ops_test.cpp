// Every operation of every device against tests/naive: values, gradients, bits.
#include <gtest/gtest.h>

#include "base/parallel.h"
#include "tests/devices.h"
#include "tests/op_rows.h"

namespace mpq {
namespace {

// [replica][output]
using Results = std::vector<std::vector<Floats>>;

Results run(Rig& rig, const OpRow& op, const Problem& problem) {
  rig.reset();
  DeviceSide side(rig, problem);
  const std::vector<Tensor> outputs = op.run(side);
  rig.expect_guards_intact();
  Results results(problem.replicas.size());
  for (size_t r = 0; r < results.size(); ++r)
    for (const Tensor& t : outputs) results[r].push_back(rig.read(t, static_cast<int>(r)));
  return results;
}

std::vector<Problem> problems() {
  const std::vector<int32_t> ragged = {17, 1, 130, 2, 15, 49, 16, 48}, few = {3, 1, 18};
  return {
      {.lengths = ragged, .C = 40, .heads = 2, .p = 0.1f, .first = 3},                 // heads of 20
      {.lengths = ragged, .C = 64, .heads = 8, .cls_only = true, .accumulate = true},  // of 8
      {.lengths = few, .C = 24, .heads = 1, .p = 0.5f, .accumulate = true, .replicas = {0, 1, 2}},
      {.lengths = few, .C = 100, .heads = 1, .p = 0.1f, .first = 1, .cls_only = true, .replicas = {2, 0, 5}},
      {.lengths = {1, 2, 33}, .C = 256, .heads = 1, .p = 0.3f},
      {.lengths = {300}, .C = 192, .heads = 2, .p = 0.1f, .first = 700, .replicas = {1}},  // of 96
      {.lengths = {150, 1, 65}, .C = 128, .heads = 2, .p = 0.1f, .replicas = {1, 0}},      // of 64
      {.lengths = {200, 64}, .C = 64, .heads = 2, .p = 0.2f, .first = 5},                  // of 32
      {.lengths = {275, 3}, .C = 128, .heads = 2, .p = 0.1f, .first = 2, .cls_only = true},
      {.lengths = {20, 3}, .C = 768, .heads = 12, .p = 0.1f},  // as in BERT-base
      {.lengths = {1}, .C = 8, .heads = 1},
  };
}

double largest(const naive::Array<double>& a) {
  double top = 0;
  for (double x : a) top = std::max(top, std::abs(x));
  return top;
}
template <class Real>
double error(const std::vector<Real>& a, const naive::Array<double>& exact) {
  double worst = 0;
  for (size_t i = 0; i < exact.size() && !std::isnan(worst); ++i)
    if (const double d = std::abs(double(a[i]) - exact[i]); !(d <= worst)) worst = d;
  return worst;
}

class OpsTest : public DeviceTest {};
MPQ_ON_EVERY_DEVICE(OpsTest);

// The error is at most twice that of the naive float32 loops, and 4 ulp of the largest value where those are lucky.
TEST_P(OpsTest, AsCloseToDoubleAsNaiveFloat32) {
  Rig rig(*device_);
  for (const OpRow& op : op_rows)
    for (const Problem& problem : problems()) {
      SCOPED_TRACE(std::string(op.name) + " " + problem.text());
      const Results results = run(rig, op, problem);
      for (size_t r = 0; r < results.size(); ++r) {
        const auto exact = op.exact(problem, problem.replicas[r]);
        const auto careless = op.careless(problem, problem.replicas[r]);
        ASSERT_EQ(results[r].size(), exact.size());
        for (size_t i = 0; i < exact.size(); ++i) {
          ASSERT_EQ(results[r][i].size(), exact[i].size()) << "output " << i;
          const double allowed = 2 * error(careless[i], exact[i]) + 4 * 0x1p-23 * largest(exact[i]);
          EXPECT_LE(error(results[r][i], exact[i]), allowed) << "output " << i << ", replica " << problem.replicas[r];
        }
      }
    }
}

void expect_equal_bits(const Results& a, const Results& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t r = 0; r < a.size(); ++r)
    for (size_t i = 0; i < a[r].size(); ++i)
      EXPECT_TRUE(same_bits(a[r][i], b[r][i])) << "output " << i << ", replica " << r;
}

TEST_P(OpsTest, AReplicaHasTheBitsItHasAlone) {
  Rig rig(*device_);
  for (const OpRow& op : op_rows)
    for (Problem problem : problems()) {
      SCOPED_TRACE(std::string(op.name) + " " + problem.text());
      problem.replicas = {4, 1, 2};
      const Results among = run(rig, op, problem);
      problem.replicas = {1};
      const Results alone = run(rig, op, problem);
      expect_equal_bits({among[1]}, alone);
    }
}

class CpuOpsTest : public OpsTest {};
MPQ_ON_EVERY_CPU(CpuOpsTest);

TEST_P(CpuOpsTest, ThreadsChangeNoBit) {
  Rig rig(*device_);
  const int before = threads();
  for (const OpRow& op : op_rows)
    for (const Problem& problem : problems()) {
      SCOPED_TRACE(std::string(op.name) + " " + problem.text());
      set_threads(1);
      const Results one = run(rig, op, problem);
      for (int n : {2, 3}) {
        set_threads(n);
        expect_equal_bits(one, run(rig, op, problem));
      }
    }
  set_threads(before);
}

TEST(OpsBits, InstructionSetsAgree) {
  const auto narrow = open_or_null("cpu/avx2"), wide = open_or_null("cpu/avx512");
  if (!narrow || !wide) GTEST_SKIP() << "this machine has not both instruction sets";
  Rig a(*narrow), b(*wide);
  for (const OpRow& op : op_rows)
    for (const Problem& problem : problems()) {
      SCOPED_TRACE(std::string(op.name) + " " + problem.text());
      expect_equal_bits(run(a, op, problem), run(b, op, problem));
    }
}

}  // namespace
}  // namespace mpq
