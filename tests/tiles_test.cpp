// Many replicas take the large tiles of matrix products and of attention where one takes the small ones: no bit may
// show it.
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "tests/devices.h"
#include "tests/rig.h"

namespace mpq {
namespace {

constexpr int32_t kRows = 600, kFirst = 350;  // of two sequences; several chunks of a weight's gradient

// A Linear of so many replicas. The second one's sizes are no multiples of a tile's, the third and the fourth have
// several tiles a block, forward and backward; the last is cuBLASLt's in bf16, where that is found.
struct Size {
  int64_t in, out;
  unsigned replicas;
};
constexpr Size sizes[] = {{128, 128, 40}, {80, 144, 70},  {96, 272, 27},  {528, 96, 24},
                          {128, 128, 70}, {512, 496, 14}, {496, 528, 14}, {512, 528, 3}};

Floats random_floats(int64_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  Floats values(count);
  for (float& v : values) v = normal(engine);
  return values;
}

// Random operands of replicas with those seeds, and what an operation makes of them.
class Replicas {
 public:
  Replicas(Device& device, std::vector<unsigned> seeds) : rig_(device), seeds_(std::move(seeds)) {}

  std::vector<Floats> outputs(int replica) {
    std::vector<Floats> values;
    for (const Tensor& t : outputs_) values.push_back(rig_.read(t, replica));
    return values;
  }
  void expect_guards_intact() { rig_.expect_guards_intact(); }

 protected:
  Tensor empty(Shape shape) { return rig_.empty(shape, static_cast<int>(seeds_.size())); }
  Tensor random(Shape shape, unsigned which) {
    std::vector<Floats> values;
    for (const unsigned seed : seeds_) values.push_back(random_floats(shape.size(), 4 * seed + which));
    return rig_.tensor(shape, values);
  }

  Rig rig_;
  std::vector<unsigned> seeds_;
  std::vector<Tensor> outputs_;
};

// y, dx, dw and dbias.
class LinearOfReplicas : public Replicas {
 public:
  LinearOfReplicas(Device& device, const Size& size, const std::vector<unsigned>& seeds) : Replicas(device, seeds) {
    const Ragged ragged{rig_.array(std::vector<int32_t>{0, kFirst, kRows}), 2, kRows, kFirst};
    const Linear1 linear{.ragged = ragged,
                         .x = random({kRows, size.in}, 0),
                         .w = random({size.out, size.in}, 1),
                         .bias = random({size.out}, 2),
                         .activation = Activation::gelu,
                         .saved = empty({kRows, size.out}),
                         .y = empty({kRows, size.out})};
    rig_.ops().linear({{linear}});
    const Linear1Grad grad{.forward = linear,
                           .dy = random({kRows, size.out}, 3),
                           .dx = empty({kRows, size.in}),
                           .dw = empty({size.out, size.in}),
                           .dbias = empty({size.out})};
    rig_.ops().linear_grad({{grad}});
    outputs_ = {linear.y, grad.dx, grad.dw, grad.dbias};
  }
};

// The context and the gradients of q, k and v, two heads with dropout.
class AttentionOfReplicas : public Replicas {
 public:
  AttentionOfReplicas(Device& device, int64_t width, const std::vector<unsigned>& seeds) : Replicas(device, seeds) {
    constexpr int heads = 2;
    const Shape shape{kRows, heads * width};
    const Ragged ragged{rig_.array(std::vector<int32_t>{0, kFirst, kRows}), 2, kRows, kFirst};
    const Attention attention{.keys = ragged,
                              .queries = ragged,
                              .heads = heads,
                              .q = random(shape, 0),
                              .k = random(shape, 1),
                              .v = random(shape, 2),
                              .dropout = {.p = 0.1f,
                                          .seeds = rig_.array(std::vector<uint64_t>(seeds.begin(), seeds.end())),
                                          .step = rig_.array(std::vector<int64_t>{3}),
                                          .site = 5},
                              .stats = empty({kRows, heads, 2}),
                              .kept = rig_.empty(kept_shape(ragged, ragged, heads), static_cast<int>(seeds.size())),
                              .context = empty(shape)};
    rig_.ops().attention(attention);
    const AttentionGrad grad{
        .forward = attention, .dcontext = random(shape, 3), .dq = empty(shape), .dk = empty(shape), .dv = empty(shape)};
    rig_.ops().attention_grad(grad);
    outputs_ = {attention.context, grad.dq, grad.dk, grad.dv};
  }
};

class TilesTest : public DeviceTest {
 protected:
  void products(Device& device) {
    for (const Size& size : sizes) {
      SCOPED_TRACE(std::to_string(size.in) + " to " + std::to_string(size.out));
      expect_same_bits(size.replicas, [&](auto seeds) { return LinearOfReplicas(device, size, seeds); });
    }
  }
  void attention(Device& device, const std::vector<int64_t>& widths = {32, 64}, unsigned replicas = 40) {
    for (const int64_t width : widths) {
      SCOPED_TRACE("heads of " + std::to_string(width));
      expect_same_bits(replicas, [&](auto seeds) { return AttentionOfReplicas(device, width, seeds); });
    }
  }

 private:
  template <class Compute>
  void expect_same_bits(unsigned replicas, Compute compute) {
    std::vector<unsigned> seeds(replicas);
    std::iota(seeds.begin(), seeds.end(), 0u);
    auto together = compute(seeds);
    for (const unsigned replica : {0u, replicas - 1}) {
      const auto a = compute(std::vector{replica}).outputs(0), b = together.outputs(static_cast<int>(replica));
      for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i], b[i])) << "replica " << replica << ", " << i;
    }
    together.expect_guards_intact();
  }
};
MPQ_ON_EVERY_DEVICE(TilesTest);

// A test each, so that they can run side by side: under racecheck they take minutes.
TEST_P(TilesTest, OfProductsGiveTheSameBits) { products(*device_); }
TEST_P(TilesTest, OfAttentionGiveTheSameBits) { attention(*device_); }

// In the precisions that only GPUs have.
class TensorCoreTilesTest : public TilesTest {};
INSTANTIATE_TEST_SUITE_P(Devices, TensorCoreTilesTest, testing::Values("cuda"), device_test_name);

TEST_P(TensorCoreTilesTest, OfProductsInTf32) { products(*open_device(GetParam(), Precision::tf32)); }
TEST_P(TensorCoreTilesTest, OfProductsInBf16) { products(*open_device(GetParam(), Precision::bf16)); }
TEST_P(TensorCoreTilesTest, OfAttentionInTf32) { attention(*open_device(GetParam(), Precision::tf32)); }
TEST_P(TensorCoreTilesTest, OfAttentionInBf16) { attention(*open_device(GetParam(), Precision::bf16)); }
TEST_P(TensorCoreTilesTest, OfAttentionInBf16ForHeadsOfOtherWidths) {
  attention(*open_device(GetParam(), Precision::bf16), {12, 48, 96, 192}, 3);
}

}  // namespace
}  // namespace mpq
