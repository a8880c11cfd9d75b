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
  void expect_copies_of_one_value_at_a_time();

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

// With tiles of zeros in every row: block_log fills them with a minimum over the sequence.
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
    const auto without_first_tile = [&](const std::string& name) {
      std::vector<Floats> values;
      for (int r : problem.replicas) std::fill_n(values.emplace_back(problem.draw(name, r, C)).begin(), 16, 0.0f);
      return rig_->tensor({C}, values);
    };
    ResidualNorm norm{.ragged = d.ragged(),
                      .y = d.in("y", {T, C}),
                      .residual = d.in("residual", {T, C}),
                      .gamma = without_first_tile("gamma"),
                      .beta = without_first_tile("beta"),
                      .epsilon = kEpsilon,
                      .mean = d.out({T}),
                      .rstd = d.out({T}),
                      .x = d.out({T, C})};
    norm.sum = norm.y;
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

// Formats that look at one value at a time: a GPU makes such copies where the values are, of many rows and of single
// ones, but for heads of odd widths.
void QuantizedOpsTest::expect_copies_of_one_value_at_a_time() {
  const std::vector<std::string> texts = {"integer(width=8,frac=4)", "none",
                                          "minifloat_ieee(width=8,exponent=4,bias=7)", "log(width=5,bias=7)",
                                          "binary_residual(levels=2)"};
  std::vector<Problem> problems = {
      {.lengths = {70, 1, 17}, .C = 96, .heads = 3}, {.lengths = {70, 1, 17}, .C = 64, .heads = 1, .cls_only = true},
      {.lengths = {3, 1, 40}, .C = 30, .heads = 3},  {.lengths = {3, 1, 40}, .C = 30, .heads = 3, .cls_only = true},
      {.lengths = {70, 1, 17}, .C = 36, .heads = 3}, {.lengths = {2, 9}, .C = 300, .heads = 3},
      {.lengths = {2, 9}, .C = 408, .heads = 2}};
  for (Problem& problem : problems) {
    SCOPED_TRACE(problem.text());
    rig_->reset();
    problem.replicas = {0, 1, 2, 3, 4};
    DeviceSide d(*rig_, problem);
    const naive::Rows expected_rows = problem.cls_only ? naive::Rows(problem.ones()) : problem.rows();
    const Ragged keys = d.ragged(), rows = problem.cls_only ? d.ragged(problem.ones()) : keys;
    const int64_t C = problem.C;
    const Shape all{keys.rows, C}, some{rows.rows, C};
    std::vector<std::pair<Tensor, Tensor>> pairs;
    const auto copies_of = [&](const Tensor& x) {
      QuantizedCopies copies;
      copies.add({slot(texts), d.out(some)});
      pairs.emplace_back(x, copies.copy[0].xq);
      return copies;
    };
    Linear1 linear{.ragged = rows,
                   .x = d.in("x", some),
                   .w = d.in("w", {C, C}, 0.2f),
                   .bias = d.in("bias", {C}),
                   .activation = Activation::gelu,
                   .saved = d.out(some),
                   .y = d.out(some)};
    linear.quantized = copies_of(linear.y);
    rig_->ops().linear({&linear, 1});
    Attention attention{.keys = keys,
                        .queries = rows,
                        .heads = problem.heads,
                        .q = d.in("q", some),
                        .k = d.in("k", all),
                        .v = d.in("v", all),
                        .stats = d.out({rows.rows, problem.heads, 2}),
                        .context = d.out(some)};
    attention.quantized = copies_of(attention.context);
    rig_->ops().attention(attention);
    ResidualNorm norm{.ragged = rows,
                      .y = d.in("y", some),
                      .gamma = d.in("gamma", {C}),
                      .beta = d.in("beta", {C}),
                      .epsilon = kEpsilon,
                      .mean = d.out({rows.rows}),
                      .rstd = d.out({rows.rows}),
                      .x = d.out(some)};
    norm.sum = norm.y;
    norm.quantized = copies_of(norm.x);
    rig_->ops().residual_norm(norm);
    rig_->expect_guards_intact();
    for (size_t i = 0; i < pairs.size(); ++i)
      for (int r = 0; r < d.R; ++r)
        EXPECT_TRUE(same_bits(rig_->read(pairs[i].second, r), quantized_alone(parse_format(texts[r]), 3, expected_rows,
                                                                              C, rig_->read(pairs[i].first, r))))
            << texts[r] << ", producer " << i;
  }
}

TEST_P(QuantizedOpsTest, CopiesOfOneValueAtATime) { expect_copies_of_one_value_at_a_time(); }

// In bf16 heads of most widths have tiles.
class TensorCoreQuantizedOpsTest : public QuantizedOpsTest {
 protected:
  void SetUp() override {
    QuantizedOpsTest::SetUp();
    if (!device_) return;
    rig_.reset();
    device_ = open_device(GetParam(), Precision::bf16);
    rig_ = std::make_unique<Rig>(*device_);
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, TensorCoreQuantizedOpsTest, testing::Values("cuda"), device_test_name);
TEST_P(TensorCoreQuantizedOpsTest, CopiesOfOneValueAtATime) { expect_copies_of_one_value_at_a_time(); }

// More sequences than a GPU's lane has counters for; every third row is a tile of zeros.
TEST_P(QuantizedOpsTest, CopiesOfManySequences) {
  const Problem problem{.lengths = std::vector<int32_t>(33000, 2), .C = 16};
  DeviceSide d(*rig_, problem);
  const int64_t T = problem.rows().count(), C = problem.C;
  Floats values = problem.draw("x", 0, T * C);
  for (int64_t row = 0; row < T; row += 3) std::fill_n(&values[row * C], C, 0.0f);
  const std::string text = "block_log(width=4,bias_width=4,block=1x16)";
  const Tensor x = rig_->tensor({T, C}, {values});
  QuantizedCopies copies;
  copies.add({slot({text}), d.out({T, C})});
  rig_->ops().quantize_copies(copies, x, d.ragged());
  rig_->expect_guards_intact();
  EXPECT_TRUE(
      same_bits(rig_->read(copies.copy[0].xq), quantized_alone(parse_format(text), 3, problem.rows(), C, values)));
}

// [CLS] rows: a format that looks over the sequence takes the first rows of the copy made from all rows; one that looks
// there only for what fills tiles of zeros, where it has such a tile.
TEST_P(QuantizedOpsTest, CopiesOfFirstRows) {
  const std::vector<std::string> texts = {"integer(width=8,frac=4)", "block_fp(width=6,exponent=8,bias=127,block=*x16)",
                                          "none", "block_log(width=4,bias_width=4,block=1x16)"};
  const Problem problem{.lengths = {70, 1, 17}, .C = 48, .replicas = {0, 1, 2, 3}};
  DeviceSide d(*rig_, problem);
  const int64_t T = problem.rows().count(), B = problem.rows().sequences(), C = problem.C;
  const Ragged all = d.ragged(), ones = d.ragged(problem.ones());
  const Tensor whole = d.in("whole", {T, C});
  std::vector<std::pair<Tensor, Tensor>> pairs;
  const auto copies_of = [&](const Tensor& x) {
    QuantizedCopies copies;
    copies.add({slot(texts), d.out({B, C}), {whole, all.starts}});
    pairs.emplace_back(x, copies.copy[0].xq);
    return copies;
  };
  std::vector<Floats> with_zeros;
  for (int r : problem.replicas) std::fill_n(&with_zeros.emplace_back(problem.draw("x", r, B * C))[C], 16, 0.0f);
  const Tensor x = rig_->tensor({B, C}, with_zeros);
  Linear1 linear{.ragged = ones, .x = x, .w = d.in("w", {C, C}, 0.2f), .y = d.out({B, C})};
  linear.quantized = copies_of(linear.y);
  rig_->ops().linear({&linear, 1});
  ResidualNorm norm{.ragged = ones,
                    .y = d.in("y", {B, C}),
                    .residual = d.in("residual", {B, C}),
                    .gamma = d.in("gamma", {C}),
                    .beta = d.in("beta", {C}),
                    .epsilon = kEpsilon,
                    .mean = d.out({B}),
                    .rstd = d.out({B}),
                    .x = d.out({B, C})};
  norm.sum = norm.y;
  norm.quantized = copies_of(norm.x);
  rig_->ops().residual_norm(norm);
  rig_->ops().quantize_copies(copies_of(x), x, ones);
  rig_->expect_guards_intact();
  for (size_t i = 0; i < pairs.size(); ++i)
    for (int r = 0; r < d.R; ++r) {
      const QuantSpec spec = parse_format(texts[r]);
      Floats expected = quantized_alone(spec, 3, naive::Rows(problem.ones()), C, rig_->read(pairs[i].first, r));
      const Floats of_all = rig_->read(whole, r);
      for (int64_t b = 0; b < B; ++b)
        if (tile_reach(spec) == Reach::sequence ||
            (reach(spec, Role::activation) == Reach::sequence && pairs[i].first.data == x.data && b == 1))
          std::copy_n(&of_all[problem.rows().starts[b] * C], C, &expected[b * C]);
      EXPECT_TRUE(same_bits(rig_->read(pairs[i].second, r), expected)) << texts[r] << ", producer " << i;
    }
}

// All rows of a batch are needed for a tile of zeros in the last replica's first row of the last sequence.
TEST_P(QuantizedOpsTest, ATileOfZerosNeedsTheWholeBatch) {
  const Problem problem{.lengths = {70, 1, 17}, .C = 40, .replicas = {0, 1}};
  DeviceSide d(*rig_, problem);
  const int64_t B = problem.rows().sequences(), C = problem.C;
  const QuantSlot log = slot({"integer(width=8,frac=4)", "block_log(width=4,bias_width=4,block=1x16)"}),
                  other = slot({"block_log(width=4,bias_width=4,block=1x16)",
                                "block_fp(width=6,exponent=8,bias=127,block=1x16)"});
  const auto rows = [&](int zeros_from) {
    std::vector<Floats> values;
    for (int r : problem.replicas) values.push_back(problem.draw("x", r, B * C));
    for (Floats& x : values) std::fill_n(&x[(B - 1) * C + zeros_from], std::min<int64_t>(16, C - zeros_from), 0.0f);
    return rig_->tensor({B, C}, values);
  };
  const std::vector<int32_t> none(B + 1, 0), unset(B + 1, 7);
  const auto read = [&](const int32_t* data) {
    std::vector<int32_t> values(B + 1);
    device_->copy_out(values.data(), data, values.size() * sizeof(int32_t));
    return values;
  };
  const Tensor without = rows(8), whole_tile = rows(16), last_tile = rows(32);
  // In the first format's replica 0 and in the other's replica 1 a tile of zeros needs nothing.
  const std::pair<std::vector<NeedWhole::FirstRows>, bool> cases[] = {{{{log, without}}, false},
                                                                      {{{log, whole_tile}}, true},
                                                                      {{{log, without}, {log, last_tile}}, true},
                                                                      {{{other, without}, {log, without}}, false}};
  for (const auto& [first_rows, needed] : cases) {
    NeedWhole op{.count = static_cast<int>(first_rows.size()),
                 .whole = d.ragged(),
                 .starts = const_cast<int32_t*>(rig_->array(unset)),
                 .ones = const_cast<int32_t*>(rig_->array(unset))};
    std::copy(first_rows.begin(), first_rows.end(), op.rows);
    EXPECT_GE(rig_->ops().need_whole(op), needed);
    EXPECT_EQ(read(op.starts), needed ? problem.rows().starts : none);
    EXPECT_EQ(read(op.ones), needed ? naive::Rows(problem.ones()).starts : none);
  }
}

double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

// A Linear whose input binary_residual made in replica 0; in replica 1 the gradient passes as it is.
struct FormatGradient {
  Linear1Grad grad;
  QuantizeGrad::Item item;
};
constexpr float kMeans[4] = {-0.8f, 0.4f, 0, 1};
const Floats kBefore = {0.25f, -3, 7, 9};

FormatGradient format_gradient(DeviceSide& d, const QuantSlot& slot) {
  const int64_t T = d.problem.rows().count(), K = d.problem.C, N = 40;
  const Ragged ragged = d.ragged();
  const Linear1 forward{.ragged = ragged, .x = d.in("xq", {T, K}), .w = d.in("w", {N, K}, 0.2f), .y = d.out({T, N})};
  const InputFormat format{slot, d.in("x", {T, K}), d.out({T, K})};
  return {{.forward = forward, .dy = d.in("dy", {T, N}), .input_format = format, .dx = d.out({T, K})},
          {ragged, format, d.rig.tensor({4}, {kBefore, kBefore})}};
}

// Of one value: what passes, by the formula of formats' source, from the gradient g of its quantized copy.
double passed(double x, double g) {
  const double m0 = std::abs(kMeans[0]), m1 = std::abs(kMeans[1]), r1 = x - sign(x) * m0;
  const double inside0 = std::abs(x) <= 1, inside1 = std::abs(r1) <= 1;
  return g * (m0 * inside0 + m1 * inside1 * (1 - m0 * inside0));
}

// Rows by tiles, and single rows, which have kernels of their own.
TEST_P(QuantizedOpsTest, GradientThroughTheFormatOfAnInput) {
  const std::vector<Problem> problems = {{.lengths = {3, 1, 40}, .C = 24, .replicas = {0, 1}},
                                         {.lengths = {1, 1, 1}, .C = 30, .replicas = {0, 1}}};
  QuantSlot slot = this->slot({"binary_residual(levels=2)", "integer(width=8,frac=4)"});
  slot.trained = rig_->tensor({4}, {Floats(kMeans, kMeans + 4), Floats(kMeans, kMeans + 4)});
  std::vector<QuantizeGrad::Item> items;
  for (const Problem& problem : problems) {
    SCOPED_TRACE(problem.text());
    DeviceSide d(*rig_, problem);
    const auto [grad, item] = format_gradient(d, slot);
    items.push_back(item);
    const Shape shape = grad.dx.shape;
    Linear1Grad plain = grad, added = grad, sloped = grad, plain_sloped = grad;
    plain.input_format = plain_sloped.input_format = {};
    plain.dx = d.out(shape), sloped.dx = d.out(shape), plain_sloped.dx = d.out(shape);
    added.dx = d.in("before", shape), added.accumulate = true;
    sloped.input_activation = plain_sloped.input_activation = Activation::gelu;
    sloped.input_saved = plain_sloped.input_saved = d.in("saved", shape);
    const std::vector<Floats> before = {rig_->read(added.dx, 0), rig_->read(added.dx, 1)};
    for (const Linear1Grad& one : {plain, grad, added, sloped, plain_sloped})
      rig_->ops().linear_grad(std::span(&one, 1));
    for (int r : {0, 1}) {
      const Floats g = rig_->read(plain.dx, r), x = rig_->read(item.format.values, r), dx = rig_->read(grad.dx, r);
      const Floats sum = rig_->read(added.dx, r), slope = rig_->read(sloped.dx, r), by = rig_->read(plain_sloped.dx, r);
      EXPECT_TRUE(r == 1 || same_bits(rig_->read(item.format.dxq), g)) << "dxq is what the product makes";
      for (size_t i = 0; i < x.size(); ++i) {
        const double expected = r == 0 ? passed(x[i], g[i]) : g[i], ulp = 0x1p-24 * std::abs(g[i]);
        ASSERT_NEAR(dx[i], expected, 4 * ulp) << "x = " << x[i];
        ASSERT_NEAR(sum[i], before[r][i] + expected, 8 * ulp + 0x1p-23 * std::abs(before[r][i]));
        ASSERT_NEAR(slope[i], expected * by[i] / g[i], 8 * ulp) << "x = " << x[i];
      }
    }
  }
  rig_->ops().quantize_grad({items});
  rig_->expect_guards_intact();
  for (const QuantizeGrad::Item& item : items) {
    const Floats x = rig_->read(item.format.values), g = rig_->read(item.format.dxq), d = rig_->read(item.dtrained);
    double dm0 = 0, dm1 = 0, sum = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double b0 = sign(x[i]), r1 = x[i] - b0 * std::abs(kMeans[0]), m1 = std::abs(kMeans[1]);
      dm0 += sign(kMeans[0]) * g[i] * (b0 - m1 * (std::abs(r1) <= 1) * b0);
      dm1 += sign(kMeans[1]) * g[i] * sign(r1);
      sum += std::abs(g[i]);
    }
    EXPECT_NEAR(d[0], dm0, 4 * 0x1p-24 * sum);
    EXPECT_NEAR(d[1], dm1, 4 * 0x1p-24 * sum);
    EXPECT_EQ(Floats(&d[2], &d[2] + 2), Floats(&kBefore[2], &kBefore[2] + 2));
    EXPECT_TRUE(same_bits(rig_->read(item.dtrained, 1), kBefore)) << "nothing to train in replica 1";
  }
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
                                   .dtrained = rig_->tensor({4}, std::vector<Floats>(3, Floats{5, 6, 7, 2}))};
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
    const Floats dtrained = rig_->read(item.dtrained, r);
    EXPECT_NEAR(dtrained[3], r == 2 ? 2 : dgamma, 4 * 0x1p-24 * sum) << "set, or left alone";
    EXPECT_EQ(Floats(dtrained.begin(), dtrained.begin() + 3), Floats({5, 6, 7}));
  }
}

}  // namespace
}  // namespace mpq
