// Many replicas take the large tiles of matrix products where one takes the small ones: no bit may show it.
#include <gtest/gtest.h>

#include <random>

#include "tests/devices.h"
#include "tests/rig.h"

namespace mpq {
namespace {

constexpr int kReplicas = 40;
constexpr int32_t kRows = 600, kFirst = 350;  // of two sequences; several chunks of a weight's gradient
constexpr int64_t kSize = 128;

Floats random_floats(int64_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  Floats values(count);
  for (float& v : values) v = normal(engine);
  return values;
}

// y, dx, dw and dbias of a Linear for replicas with those seeds.
class LinearOfReplicas {
 public:
  LinearOfReplicas(Device& device, const std::vector<unsigned>& seeds) : rig_(device), seeds_(seeds) {
    const Ragged ragged{rig_.array(std::vector<int32_t>{0, kFirst, kRows}), 2, kRows, kFirst};
    const Linear1 linear{.ragged = ragged,
                         .x = random({kRows, kSize}, 0),
                         .w = random({kSize, kSize}, 1),
                         .bias = random({kSize}, 2),
                         .activation = Activation::gelu,
                         .saved = empty({kRows, kSize}),
                         .y = empty({kRows, kSize})};
    rig_.ops().linear({{linear}});
    const Linear1Grad grad{.forward = linear,
                           .dy = random({kRows, kSize}, 3),
                           .dx = empty({kRows, kSize}),
                           .dw = empty({kSize, kSize}),
                           .dbias = empty({kSize})};
    rig_.ops().linear_grad({{grad}});
    outputs_ = {linear.y, grad.dx, grad.dw, grad.dbias};
  }

  std::vector<Floats> of(int replica) {
    std::vector<Floats> values;
    for (const Tensor& t : outputs_) values.push_back(rig_.read(t, replica));
    return values;
  }
  void expect_guards_intact() { rig_.expect_guards_intact(); }

 private:
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

class TilesTest : public DeviceTest {
 protected:
  void expect_same_bits(Device& device) {
    std::vector<unsigned> seeds;
    for (unsigned seed = 0; seed < kReplicas; ++seed) seeds.push_back(seed);
    LinearOfReplicas together(device, seeds);
    for (const int replica : {0, kReplicas - 1}) {
      LinearOfReplicas alone(device, {static_cast<unsigned>(replica)});
      const auto a = alone.of(0), b = together.of(replica);
      for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(same_bits(a[i], b[i])) << "replica " << replica << ", " << i;
    }
    together.expect_guards_intact();
  }
};
MPQ_ON_EVERY_DEVICE(TilesTest);

TEST_P(TilesTest, OfAnySizeGiveTheSameBits) {
  expect_same_bits(*device_);
  if (is_cpu()) return;
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    SCOPED_TRACE(to_text(precision));
    expect_same_bits(*open_device(GetParam(), precision));
  }
}

}  // namespace
}  // namespace mpq
