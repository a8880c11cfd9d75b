// Quantized copies, weights and gradients inside the operations: against the quantizer of one tensor, and against the
// formulas of the straight-through gradient (MASE's binary_residual; src/quant/binary_residual.h names the source).
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "quant/linear_spec.h"
#include "quant/quantize.h"
#include "tests/devices.h"
#include "tests/op_rows.h"

namespace mpq {
namespace {

class QuantizedOpsTest : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (device_) rig_ = std::make_unique<Rig>(*device_);
  }
  // Replica r quantizes by texts[r].
  QuantSlot slot(const std::vector<std::string>& texts) {
    std::vector<QuantSpec> specs;
    QuantSlot slot{.stride = 1};
    for (const std::string& t : texts) {
      specs.push_back(parse_format(t));
      plan_for(slot, specs.back());
    }
    slot.specs = rig_->array(specs);
    return slot;
  }
  std::unique_ptr<Rig> rig_;
};
MPQ_ON_EVERY_DEVICE(QuantizedOpsTest);

// Each sequence quantized as if it were alone: [1, S, C], or every row as [1, C].
Floats quantized_alone(const QuantSpec& spec, int rank, const naive::Rows& rows, int64_t C, const Floats& x) {
  Floats y(x.size());
  for (int b = 0; b < rows.sequences(); ++b) {
    const int64_t step = rank == 3 ? rows.length(b) : 1;
    for (int64_t row = rows.starts[b]; row < rows.starts[b + 1]; row += step)
      quantize(spec, Role::activation, rank == 3 ? QuantShape{3, {1, step, C}} : QuantShape{2, {1, C, 1}}, &x[row * C],
               &y[row * C]);
  }
  return y;
}

TEST_P(QuantizedOpsTest, CopiesAreEachSequenceAlone) {
  const std::vector<std::string> texts = {"integer(width=8,frac=4)", "block_fp(width=6,exponent=8,bias=127,block=*x16)",
                                          "none", "block_log(width=4,bias_width=4,block=1x16)",
                                          "binary_residual(levels=2)"};
  for (int rank : {2, 3}) {
    rig_->reset();
    const Problem problem{.lengths = {70, 1, 17, 130}, .C = 48, .p = 0.1f, .replicas = {0, 1, 2, 3, 4}};
    DeviceSide d(*rig_, problem);
    const int64_t T = problem.rows().count(), C = problem.C;
    // One producer each: an activation, attention, a norm; and the copy of a value already there.
    std::vector<std::pair<Tensor, Tensor>> pairs;
    const auto copies_of = [&](const Tensor& x) {
      QuantizedCopies copies;
      copies.features_rank = rank;
      copies.add({slot(texts), d.out({T, C})});
      pairs.emplace_back(x, copies.copy[0].xq);
      return copies;
    };
    Linear1 linear{.ragged = d.ragged(),
                   .x = d.in("x", {T, C}),
                   .w = d.in("w", {C, C}, 0.2f),
                   .activation = Activation::gelu,
                   .dropout = d.dropout(1),
                   .y = d.out({T, C})};
    linear.quantized = copies_of(linear.y);
    rig_->ops().linear({&linear, 1});
    Attention attention{.keys = d.ragged(),
                        .queries = d.ragged(),
                        .heads = 3,
                        .q = d.in("q", {T, C}),
                        .k = d.in("k", {T, C}),
                        .v = d.in("v", {T, C}),
                        .stats = d.out({T, 3, 2}),
                        .context = d.out({T, C})};
    attention.quantized = copies_of(attention.context);
    rig_->ops().attention(attention);
    ResidualNorm norm{.ragged = d.ragged(),
                      .y = d.in("y", {T, C}),
                      .residual = d.in("residual", {T, C}),
                      .gamma = d.in("gamma", {C}),
                      .beta = d.in("beta", {C}),
                      .epsilon = kEpsilon,
                      .mean = d.out({T}),
                      .rstd = d.out({T}),
                      .x = d.out({T, C})};
    norm.quantized = copies_of(norm.x);
    rig_->ops().residual_norm(norm);
    rig_->ops().quantize_copies(copies_of(linear.x), linear.x, d.ragged());
    rig_->expect_guards_intact();
    for (size_t i = 0; i < pairs.size(); ++i)
      for (int r = 0; r < d.R; ++r) {
        const Floats expected =
            quantized_alone(parse_format(texts[r]), rank, problem.rows(), C, rig_->read(pairs[i].first, r));
        EXPECT_TRUE(same_bits(rig_->read(pairs[i].second, r), expected))
            << texts[r] << ", rank " << rank << ", producer " << i;
      }
  }
}

double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

TEST_P(QuantizedOpsTest, GradientThroughBinaryResidual) {
  const Problem problem{.lengths = {3, 1, 40}, .C = 24, .replicas = {0, 1}};
  DeviceSide d(*rig_, problem);
  const int64_t T = problem.rows().count(), C = problem.C;
  const Floats means = {-0.8f, 0.4f, 0, 1}, before = {0.25f, -3, 7, 9};
  QuantSlot slot = this->slot({"binary_residual(levels=2)", "integer(width=8,frac=4)"});
  slot.trained = rig_->tensor({4}, {means, means});
  const QuantizeGrad op{.ragged = d.ragged(),
                        .slot = slot,
                        .x = d.in("x", {T, C}),
                        .dx = d.in("dx", {T, C}),
                        .dtrained = rig_->tensor({4}, {before, before})};
  const Floats x = rig_->read(op.x), g = rig_->read(op.dx), other = rig_->read(op.dx, 1);
  rig_->ops().quantize_grad(op);
  rig_->expect_guards_intact();

  const double m0 = std::abs(means[0]), m1 = std::abs(means[1]);
  double dm0 = 0, dm1 = 0, sum = 0;
  const Floats dx = rig_->read(op.dx), dtrained = rig_->read(op.dtrained);
  for (size_t i = 0; i < x.size(); ++i) {
    const double b0 = sign(x[i]), r1 = x[i] - b0 * m0, b1 = sign(r1);
    const double inside0 = std::abs(x[i]) <= 1, inside1 = std::abs(r1) <= 1;
    EXPECT_NEAR(dx[i], g[i] * (m0 * inside0 + m1 * inside1 * (1 - m0 * inside0)), 4 * 0x1p-24 * std::abs(g[i]))
        << "x = " << x[i];
    dm0 += sign(means[0]) * g[i] * (b0 - m1 * inside1 * b0);
    dm1 += sign(means[1]) * g[i] * b1;
    sum += std::abs(g[i]);
  }
  EXPECT_NEAR(dtrained[0], before[0] + dm0, 4 * 0x1p-24 * sum);
  EXPECT_NEAR(dtrained[1], before[1] + dm1, 4 * 0x1p-24 * sum);
  EXPECT_EQ(Floats(&dtrained[2], &dtrained[2] + 2), Floats(&before[2], &before[2] + 2));
  // A format whose gradient is the identity shares the call and is left alone.
  EXPECT_TRUE(same_bits(rig_->read(op.dx, 1), other));
  EXPECT_TRUE(same_bits(rig_->read(op.dtrained, 1), before));
}

// wq = w' |gamma|: dw' = dwq |gamma|, straight through to w; dgamma = sgn(gamma) sum of dwq w'. In replica 0 w' = sign
// w, in 1 w' is w on a grid; in 2 the input trains nothing, and gamma stays out.
TEST_P(QuantizedOpsTest, WeightsTimesGamma) {
  const Problem problem{.replicas = {0, 1, 2}};
  DeviceSide d(*rig_, problem);
  constexpr int64_t N = 5, K = 23;
  const std::vector<std::string> texts = {"binary()", "integer(width=8,frac=4)", "binary()"};
  const float gammas[] = {-0.7f, 1.5f, 3};
  QuantSlot input = slot({"binary_residual(levels=2)", "binary_residual(levels=3)", "none"});
  input.trained =
      rig_->tensor({4}, {Floats{0, 0, 0, gammas[0]}, Floats{0, 0, 0, gammas[1]}, Floats{0, 0, 0, gammas[2]}});
  const QuantizeWeights::Item item{.w = d.in("w", {N, K}),
                                   .wq = d.out({N, K}),
                                   .slot = slot(texts),
                                   .role = Role::weight,
                                   .input = input,
                                   .dw = d.in("dwq", {N, K}),
                                   .dtrained = rig_->tensor({4}, std::vector<Floats>(3, Floats{0, 0, 0, 2}))};
  std::vector<Floats> dwq;
  for (int r : {0, 1, 2}) dwq.push_back(rig_->read(item.dw, r));
  rig_->ops().quantize_weights({{&item, 1}});
  rig_->ops().quantize_weights_grad({{&item, 1}});
  rig_->expect_guards_intact();
  for (int r : {0, 1, 2}) {
    SCOPED_TRACE(r);
    const Floats w = rig_->read(item.w, r), wq = rig_->read(item.wq, r), dw = rig_->read(item.dw, r);
    Floats plain(w.size());
    quantize(parse_format(texts[r]), Role::weight, {2, {N, K, 1}}, w.data(), plain.data());
    const float scale = r == 2 ? 1 : std::abs(gammas[r]);
    double dgamma = 0, sum = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      EXPECT_EQ(wq[i], plain[i] * scale);
      EXPECT_EQ(dw[i], dwq[r][i] * scale);
      dgamma += sign(gammas[r]) * dwq[r][i] * plain[i];
      sum += std::abs(dwq[r][i] * plain[i]);
    }
    EXPECT_NEAR(rig_->read(item.dtrained, r)[3], 2 + (r == 2 ? 0 : dgamma), 4 * 0x1p-24 * (sum + 2));
  }
}

}  // namespace
}  // namespace mpq
