// Linears as wide as base-size models have them. A GPU multiplies them in bf16 by cuBLASLt, where it is found, and by
// own kernels: what holds for one holds for the other, and for the CPU.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "quant/quantize.h"
#include "quant/spec.h"
#include "tests/bf16_devices.h"
#include "tests/naive/ops.h"
#include "tests/rig.h"
#include "tests/small_session.h"

namespace mpq {
namespace {

constexpr int64_t kIn = 520, kOut = 512;  // products like multiples of 16 and get 8

// Numbers of a Linear for one replica; row m of x and dy is the same whatever the number of rows.
struct Numbers {
  Numbers(int64_t rows, unsigned seed)
      : x(random_floats(rows * kIn, 8 * seed)),
        w(random_floats(kOut * kIn, 8 * seed + 1, 1 / std::sqrt(float{kIn}))),
        bias(random_floats(kOut, 8 * seed + 2)),
        dy(random_floats(rows * kOut, 8 * seed + 3)),
        before(random_floats(rows * kIn, 8 * seed + 4)) {}
  Floats x, w, bias, dy, before;
};

// Which rows of the numbers. `bucket`: of how many a record would be made for them; a CPU has no records.
struct Rows {
  std::vector<int32_t> lengths;
  int64_t bucket = 0;
  int64_t first = 0;
  std::vector<unsigned> seeds = {0};
  Activation activation = Activation::gelu;
  bool accumulate = true;

  int64_t count() const {
    int64_t sum = 0;
    for (int32_t n : lengths) sum += n;
    return sum;
  }
};

// y, saved, dx, dw and dbias of one replica, of the rows that are there.
using Results = std::vector<Floats>;
enum Result { kY, kSaved, kDx, kDw, kDbias };

class OnDevice {
 public:
  explicit OnDevice(Device& device) : has_records_(device.describe().starts_with("cuda")), rig_(device) {}

  Rig& rig() { return rig_; }

  Linear1Grad make(const Rows& rows) {
    rig_.reset();
    std::vector<int32_t> starts = {0};
    for (int32_t n : rows.lengths) starts.push_back(starts.back() + n);
    const int64_t M = has_records_ ? std::max(rows.bucket, rows.count()) : rows.count();
    std::vector<Numbers> numbers;
    for (const unsigned seed : rows.seeds) numbers.emplace_back(rows.first + rows.count(), seed);
    const auto some = [&](Shape shape, Floats Numbers::*which) { return tensor(rows, shape, numbers, which); };
    const Ragged ragged{rig_.array(starts), static_cast<int32_t>(rows.lengths.size()), M,
                        *std::max_element(rows.lengths.begin(), rows.lengths.end())};
    const bool active = rows.activation != Activation::none;
    const Linear1 forward{.ragged = ragged,
                          .x = some({M, kIn}, &Numbers::x),
                          .w = some({kOut, kIn}, &Numbers::w),
                          .bias = some({kOut}, &Numbers::bias),
                          .activation = rows.activation,
                          .saved = active ? empty(rows, {M, kOut}) : Tensor{},
                          .y = empty(rows, {M, kOut})};
    return {.forward = forward,
            .dy = some({M, kOut}, &Numbers::dy),
            .dx = rows.accumulate ? some({M, kIn}, &Numbers::before) : empty(rows, {M, kIn}),
            .accumulate = rows.accumulate,
            .dw = empty(rows, {kOut, kIn}),
            .dbias = empty(rows, {kOut})};
  }
  void run(const Linear1Grad& grad) {
    rig_.ops().linear({{grad.forward}});
    rig_.ops().linear_grad({{grad}});
  }
  Results results(const Linear1Grad& grad, const Rows& rows, int replica) {
    const auto rows_of = [&](const Tensor& t) {
      Floats all = t ? rig_.read(t, replica) : Floats{};
      if (t) all.resize(rows.count() * t.cols());
      return all;
    };
    return {rows_of(grad.forward.y), rows_of(grad.forward.saved), rows_of(grad.dx), rig_.read(grad.dw, replica),
            rig_.read(grad.dbias, replica)};
  }
  Results of(const Rows& rows, int replica = 0) {
    const Linear1Grad grad = make(rows);
    run(grad);
    rig_.expect_guards_intact();
    return results(grad, rows, replica);
  }

 private:
  Tensor empty(const Rows& rows, Shape shape) { return rig_.empty(shape, static_cast<int>(rows.seeds.size())); }
  // The batch's rows, NaN behind them; or all of a weight.
  Tensor tensor(const Rows& rows, Shape shape, const std::vector<Numbers>& numbers, Floats Numbers::*which) {
    const bool ragged = which != &Numbers::w && which != &Numbers::bias;
    std::vector<Floats> values;
    for (const Numbers& n : numbers)
      values.emplace_back((n.*which).begin() + (ragged ? rows.first * shape[1] : 0), (n.*which).end());
    return rig_.tensor(shape, values);
  }

  bool has_records_;
  Rig rig_;
};

class WideLinearTest : public Bf16Test {};
MPQ_ON_EVERY_DEVICE(WideLinearTest);

void expect_same_bits(const Results& a, const Results& b) {
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i], b[i])) << "result " << i;
}
Floats part(const Floats& all, int64_t first, int64_t count, int64_t width) {
  return {all.begin() + first * width, all.begin() + (first + count) * width};
}

TEST_P(WideLinearTest, IsWhatNaiveLoopsCompute) {
  const Rows rows{.lengths = {170, 1, 99}, .bucket = 384};
  const Numbers n(rows.count(), 0);
  const auto real = [](const Floats& f) { return naive::Array<double>(f.begin(), f.end()); };
  const naive::Linear<double> in{.rows = naive::Rows(rows.lengths),
                                 .x = real(n.x),
                                 .w = real(n.w),
                                 .bias = real(n.bias),
                                 .function = naive::Function::gelu,
                                 .N = kOut,
                                 .K = kIn};
  const auto g = naive::linear_grad(in, real(n.dy));
  on_each([&](Device& device) {
    const Results r = OnDevice(device).of(rows);
    expect_near(r[kY], naive::linear(in), share());
    expect_near(r[kSaved], in.product(), share());
    expect_near(r[kDx], naive::added(real(n.before), g.dx), share());
    expect_near(r[kDw], g.dw, share());
    expect_near(r[kDbias], g.dbias, share());
  });
}

// They are three chunks of a weight's gradient, and five of the larger bucket.
TEST_P(WideLinearTest, BitsAreThoseOfTheRowsAlone) {
  const Rows rows{.lengths = {1100, 1, 1199}, .bucket = 2304};
  on_each([&](Device& device) {
    OnDevice on(device);
    const Results expected = on.of(rows);
    Rows larger = rows, first = rows, rest = rows, together = rows;
    larger.bucket = 4224;
    expect_same_bits(on.of(larger), expected);

    first.lengths = {1100}, first.bucket = 1152;
    const Results of_first = on.of(first);
    first.bucket = 2304;  // without cuBLASLt, chunks of a batch so long have blocks of larger tiles
    expect_same_bits(on.of(first), of_first);
    rest.first = 1100, rest.lengths = {1, 1199}, rest.bucket = 1280;
    const Results of_rest = on.of(rest);
    for (const Result i : {kY, kSaved, kDx}) {
      const int64_t width = i == kDx ? kIn : kOut;
      EXPECT_TRUE(same_bits(of_first[i], part(expected[i], 0, 1100, width))) << i;
      EXPECT_TRUE(same_bits(of_rest[i], part(expected[i], 1100, 1200, width))) << i;
    }

    together.seeds = {7, 3, 0};
    expect_same_bits(on.of(together, 2), expected);
  });
}

// More than find room at once.
TEST_P(WideLinearTest, ManyRowsAreTheirParts) {
  constexpr int32_t kFirst = 8500, kRest = 8600;
  const Rows rows{.lengths = {kFirst, kRest}, .activation = Activation::none, .accumulate = false};
  on_each([&](Device& device) {
    OnDevice on(device);
    const Results all = on.of(rows);
    Rows first = rows, rest = rows;
    first.lengths = {kFirst}, rest.lengths = {kRest}, rest.first = kFirst;
    const Results a = on.of(first), b = on.of(rest);
    for (const Result i : {kY, kDx}) {
      const int64_t width = i == kDx ? kIn : kOut;
      EXPECT_TRUE(same_bits(a[i], part(all[i], 0, kFirst, width))) << i;
      EXPECT_TRUE(same_bits(b[i], part(all[i], kFirst, kRest, width))) << i;
    }
    for (const Result i : {kDw, kDbias}) {
      naive::Array<double> sum(a[i].begin(), a[i].end());
      for (size_t k = 0; k < sum.size(); ++k) sum[k] += b[i][k];
      expect_near(all[i], sum, 0x1p-14);  // tensor cores cut what they add
    }
  });
}

TEST_P(WideLinearTest, ARecordDoesWhatTheOperationsDo) {
  const Rows rows{.lengths = {1200, 60}, .bucket = 1408, .accumulate = false};
  on_each([&](Device& device) {
    OnDevice recorded(device), on(device);
    const Linear1Grad grad = recorded.make(rows);
    const auto replay = device.replay();
    for (int run = 0; run < 2; ++run) {
      // dy becomes the gradient of the product, so every run needs it anew.
      Linear1Grad twice = grad;
      const Floats dy = Numbers(rows.count(), 0).dy;
      device.copy_in(grad.dy.data, dy.data(), dy.size() * sizeof(float));
      replay->run(1, [&] { recorded.run(twice); });
      expect_same_bits(recorded.results(grad, rows, 0), on.of(rows));
    }
  });
}

// Behind an activation, and without one.
TEST_P(WideLinearTest, CopiesOfTheOutput) {
  on_each([](Device& device) {
    for (const Activation activation : {Activation::none, Activation::gelu}) {
      OnDevice side(device);
      const Rows rows{.lengths = {40, 7}, .bucket = 64, .activation = activation};
      Linear1 linear = side.make(rows).forward;
      const std::vector<QuantSpec> specs = {parse_format("integer(width=8,frac=4)")};
      QuantSlot slot{.specs = side.rig().array(specs), .stride = 1};
      plan_for(slot, specs[0]);
      const Tensor yq = side.rig().empty(linear.y.shape);
      linear.quantized.add({slot, yq});
      side.rig().ops().linear({{linear}});
      side.rig().expect_guards_intact();
      Floats y = side.rig().read(linear.y), made = side.rig().read(yq), expected(rows.count() * kOut);
      made.resize(expected.size());
      quantize(specs[0], Role::activation, {3, {1, rows.count(), kOut}}, y.data(), expected.data());
      EXPECT_TRUE(same_bits(made, expected)) << "activation " << static_cast<int>(activation);
    }
  });
}

// Where a trained format made the input of some replica, gradients go through it (tests/quantized_ops_test.cpp has the
// formula): here what passes is compared with a replica where all does.
TEST_P(WideLinearTest, GradientsGoThroughTheFormatOfAnInput) {
  const Rows rows{.lengths = {130, 70}, .bucket = 256, .seeds = {0, 0}};
  on_each([&](Device& device) {
    OnDevice on(device);
    const Results expected = on.of(rows);
    Linear1Grad grad = on.make(rows);
    const std::vector<QuantSpec> specs = {parse_format("binary_residual(levels=2,means=1:0)"),
                                          parse_format("integer(width=8,frac=4)")};
    QuantSlot slot{on.rig().array(specs), 1, {}};
    const Floats values = random_floats(rows.count() * kIn, 99);
    grad.input_format = {slot, on.rig().tensor(grad.dx.shape, {values, values}), on.rig().empty(grad.dx.shape, 2)};
    on.run(grad);
    on.rig().expect_guards_intact();
    expect_same_bits(on.results(grad, rows, 1), expected);
    const Results through = on.results(grad, rows, 0);
    EXPECT_TRUE(same_bits(through[kDw], expected[kDw]));
    const Numbers n(rows.count(), 0);
    for (size_t i = 0; i < values.size(); ++i) {  // means 1 and 0: all of it within [-1, 1], nothing beyond
      const bool inside = std::abs(values[i]) <= 1;
      ASSERT_EQ(through[kDx][i], inside ? expected[kDx][i] : n.before[i]) << values[i];
    }
  });
}

// Whole steps, as records on a GPU. With a format that masks gradients beside it, a replica's go another way.
TEST_P(WideLinearTest, AReplicaOfAWideModelHasTheBitsItHasAlone) {
  BertConfig config = small;
  config.hidden = 512, config.heads = 8, config.ffn = 512;
  const Bert model(config);
  const std::vector<Replica> replicas = {replica(model, {.seed = 1, .rate = 1e-4}),
                                         replica(model, {"binary_residual(levels=2)", 4, 1e-4}),
                                         replica(model, {"integer(width=8,frac=4)", 2, 1e-4})};
  const auto everything_after = [](Session& session, int r) {
    while (session.step() < 3) session.train_step(batch_at(session.step()));
    return everything(session, r);
  };
  on_each([&](Device& device) {
    const auto together = open_session(device, model, replicas);
    for (int r = 0; r < together->replicas(); ++r) {
      const auto alone = open_session(device, model, {replicas[r]});
      expect_same_bits(everything_after(*together, r), everything_after(*alone, 0));
    }
  });
}

}  // namespace
}  // namespace mpq
