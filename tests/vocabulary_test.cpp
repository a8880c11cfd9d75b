// A Linear over a vocabulary, the cross-entropy of its outputs and the gradients of both: a GPU keeps the gradient of
// the logits as bf16 between them, whoever multiplies.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/bf16_devices.h"

namespace mpq {
namespace {

constexpr int64_t kIn = 128, kClasses = 8195, kOut = 8208;  // rows as wide as products like them

// Of one replica; row m of x is the same whatever the number of rows. No class has the last outputs.
struct Numbers {
  Numbers(int64_t rows, unsigned seed)
      : x(random_floats(rows * kIn, 3 * seed)),
        w(random_floats(kOut * kIn, 3 * seed + 1, 2 / std::sqrt(float{kIn}))),
        bias(random_floats(kOut, 3 * seed + 2)) {}
  Floats x, w, bias;
};

std::vector<int32_t> labels_of(int64_t rows) {
  std::mt19937 engine(5);
  std::vector<int32_t> labels(rows);
  for (int32_t& label : labels) label = static_cast<int32_t>(engine() % kClasses);
  labels[0] = kClasses - 1;
  return labels;
}

// `bucket`: of how many rows a record would be made for them; a CPU has no records.
struct Rows {
  std::vector<int32_t> lengths;
  int64_t bucket = 0;
  std::vector<unsigned> seeds = {0};

  int64_t count() const {
    int64_t sum = 0;
    for (int32_t n : lengths) sum += n;
    return sum;
  }
};

// Of one replica: the rows of dx that are there.
struct Results {
  Floats loss, dx, dw, dbias;
};

class OnDevice {
 public:
  OnDevice(Device& device, const Rows& rows) : rows_(rows), rig_(device) {
    const bool has_records = device.describe().starts_with("cuda");
    const int64_t M = has_records ? std::max(rows.bucket, rows.count()) : rows.count();
    std::vector<int32_t> starts = {0}, labels = labels_of(rows.count());
    for (int32_t n : rows.lengths) starts.push_back(starts.back() + n);
    labels.resize(M, -1);
    std::vector<Numbers> numbers;
    for (const unsigned seed : rows.seeds) numbers.emplace_back(rows.count(), seed);
    const auto some = [&](Shape shape, Floats Numbers::*which) {
      std::vector<Floats> values;
      for (const Numbers& n : numbers) values.push_back(n.*which);
      return rig_.tensor(shape, values);
    };
    const auto empty = [&](Shape shape) { return rig_.empty(shape, static_cast<int>(rows.seeds.size())); };
    linear_ = {.ragged = {rig_.array(starts), static_cast<int32_t>(rows.lengths.size()), M,
                          *std::max_element(rows.lengths.begin(), rows.lengths.end())},
               .x = some({M, kIn}, &Numbers::x),
               .w = some({kOut, kIn}, &Numbers::w),
               .bias = some({kOut}, &Numbers::bias),
               .y = empty({M, kOut})};
    loss_ = {.ragged = linear_.ragged,
             .logits = linear_.y,
             .classes = kClasses,
             .labels = rig_.array(labels),
             .gradient = true,
             .loss = empty({1})};
    grad_ = {.dx = empty({M, kIn}), .dw = empty({kOut, kIn}), .dbias = empty({kOut})};
  }

  void run() {
    rig_.ops().linear({{linear_}});
    grad_.forward = linear_;
    grad_.dy = rig_.ops().wide_cross_entropy(loss_);
    rig_.ops().linear_grad({{grad_}});
  }
  Results results(int replica = 0) {
    rig_.expect_guards_intact();
    Floats dx = rig_.read(grad_.dx, replica);
    dx.resize(rows_.count() * kIn);
    return {rig_.read(loss_.loss, replica), dx, rig_.read(grad_.dw, replica), rig_.read(grad_.dbias, replica)};
  }
  DType type_of_gradient() const { return grad_.dy.dtype; }

 private:
  Rows rows_;
  Rig rig_;
  Linear1 linear_;
  WideCrossEntropy loss_;
  Linear1Grad grad_;
};

Results results_of(Device& device, const Rows& rows, int replica = 0) {
  OnDevice on(device, rows);
  on.run();
  return on.results(replica);
}

void expect_same_bits(const Results& a, const Results& b) {
  EXPECT_TRUE(same_bits(a.loss, b.loss));
  EXPECT_TRUE(same_bits(a.dx, b.dx));
  EXPECT_TRUE(same_bits(a.dw, b.dw));
  EXPECT_TRUE(same_bits(a.dbias, b.dbias));
}

class VocabularyTest : public Bf16Test {
 protected:
  // On a GPU two chunks of a weight's gradient, the second of which few rows fill.
  Rows rows() const {
    if (is_cpu()) return {.lengths = {40, 1, 30}};
    return {.lengths = {1100, 1, 1199}, .bucket = 2304};
  }
};
MPQ_ON_EVERY_DEVICE(VocabularyTest);

TEST_P(VocabularyTest, IsWhatNaiveLoopsCompute) {
  const Rows rows{.lengths = {30, 1, 24}, .bucket = 128};
  const Numbers n(rows.count(), 0);
  const auto real = [](const Floats& f) { return naive::Array<double>(f.begin(), f.end()); };
  const naive::Linear<double> in{
      .rows = naive::Rows(rows.lengths), .x = real(n.x), .w = real(n.w), .bias = real(n.bias), .N = kOut, .K = kIn};
  const auto y = naive::linear(in);
  naive::Array<double> logits, dy(y.size());
  for (int64_t m = 0; m < rows.count(); ++m) logits.insert(logits.end(), &y[m * kOut], &y[m * kOut] + kClasses);
  const auto dlogits = naive::cross_entropy_grad(logits, kClasses, labels_of(rows.count()));
  for (int64_t m = 0; m < rows.count(); ++m) std::copy_n(&dlogits[m * kClasses], kClasses, &dy[m * kOut]);
  const auto g = naive::linear_grad(in, dy);
  on_each([&](Device& device) {
    const Results r = results_of(device, rows);
    expect_near(r.loss, {naive::cross_entropy(logits, kClasses, labels_of(rows.count()))}, share());
    expect_near(r.dx, g.dx, share());
    expect_near(r.dw, g.dw, share());
    expect_near(r.dbias, g.dbias, share());
  });
}

TEST_P(VocabularyTest, TheGradientIsFloatWhereProductsTakeAllOfIt) {
  on_each([&](Device& device) {
    OnDevice on(device, {.lengths = {3, 2}});
    on.run();
    EXPECT_EQ(on.type_of_gradient(), is_cpu() ? DType::f32 : DType::bf16);
  });
  OnDevice on(*device_, {.lengths = {3, 2}});
  on.run();
  EXPECT_EQ(on.type_of_gradient(), DType::f32);
}

TEST_P(VocabularyTest, BitsDependNeitherOnTheBucketNorOnOtherReplicas) {
  on_each([&](Device& device) {
    const Results expected = results_of(device, rows());
    Rows larger = rows(), together = rows();
    larger.bucket = 4224;
    expect_same_bits(results_of(device, larger), expected);
    together.seeds = {7, 0};
    expect_same_bits(results_of(device, together, 1), expected);
  });
}

TEST_P(VocabularyTest, ARecordDoesWhatTheOperationsDo) {
  on_each([&](Device& device) {
    const Results expected = results_of(device, rows());
    OnDevice recorded(device, rows());
    const auto replay = device.replay();
    for (int run = 0; run < 2; ++run) {
      replay->run(1, [&] { recorded.run(); });
      expect_same_bits(recorded.results(), expected);
    }
  });
}

}  // namespace
}  // namespace mpq
