// AdamW by rows that few steps touch has the bits of dense AdamW.
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "tests/devices.h"
#include "tests/rig.h"
#include "train/schedule.h"

namespace mpq {
namespace {

constexpr int kSteps = 400, kReplicas = 2;
constexpr int64_t V = 23, C = 24;

class AdamWRowsTest : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (!device_) return;
    rig_ = std::make_unique<Rig>(*device_);
    std::vector<float> columns[3];
    for (int r = 0; r < kReplicas; ++r) {
      const AdamWRow row = adamw_row(
          {.learning_rate = 0.01 * (r + 1), .weight_decay = 0.05, .warmup_steps = 30, .steps = kSteps}, 0.9, 0.999);
      columns[0].insert(columns[0].end(), row.rate.begin(), row.rate.end());
      columns[1].insert(columns[1].end(), row.inverse_root.begin(), row.inverse_root.end());
      columns[2].insert(columns[2].end(), row.keep.begin(), row.keep.end());
    }
    table_ = {rig_->array(columns[0]), rig_->array(columns[1]), rig_->array(columns[2]), kSteps};
  }
  std::vector<Floats> random(int64_t n, float scale) {
    std::normal_distribution<float> normal(0, scale);
    std::vector<Floats> values(kReplicas, Floats(n));
    for (Floats& v : values)
      for (float& f : v) f = normal(engine_);
    return values;
  }

  struct State {
    Tensor p, m, v;
  };
  State state(const std::vector<Floats>& p) {
    const std::vector<Floats> zero(kReplicas, Floats(V * C));
    return {rig_->tensor({V, C}, p), rig_->tensor({V, C}, zero), rig_->tensor({V, C}, zero)};
  }
  void expect_same_rows(const State& a, const State& b, const std::vector<int32_t>& rows, int64_t step) {
    for (int r = 0; r < kReplicas; ++r)
      for (auto part : {&State::p, &State::m, &State::v}) {
        const Floats x = rig_->read(a.*part, r), y = rig_->read(b.*part, r);
        for (int32_t row : rows)
          ASSERT_TRUE(same_bits({&x[row * C], &x[row * C] + C}, {&y[row * C], &y[row * C] + C}))
              << "step " << step << ", row " << row << ", replica " << r;
      }
  }

  std::mt19937 engine_{7};
  std::unique_ptr<Rig> rig_;
  AdamWTable table_;
};
MPQ_ON_EVERY_DEVICE(AdamWRowsTest);

TEST_P(AdamWRowsTest, HasTheBitsOfDenseAdamW) {
  const auto initial = random(V * C, 1);
  const State dense = state(initial), lazy = state(initial);
  auto* last = const_cast<int32_t*>(rig_->array(std::vector<int32_t>(kReplicas * V, 0)));
  const std::vector<ParameterRange> ranges = {{0, V * C, true}};
  for (int64_t step = 0; step <= kSteps; ++step) {
    std::vector<int32_t> rows;  // row 0 is never touched, row 1 always, the others now and then
    for (int32_t row = 1; row < V; ++row)
      if (row == 1 || engine_() % 16 == 0) rows.push_back(row);
    if (step == kSteps) rows.resize(V), std::iota(rows.begin(), rows.end(), 0);
    const auto U = static_cast<int64_t>(rows.size());
    const int64_t* now = rig_->array(std::vector<int64_t>{step});
    AdamWRows update{.p = lazy.p,
                     .m = lazy.m,
                     .v = lazy.v,
                     .last = last,
                     .rows = rig_->array(rows),
                     .count = rig_->array(std::vector<int32_t>{static_cast<int32_t>(U)}),
                     .most = U,
                     .table = table_,
                     .decay = true,
                     .step = now};
    rig_->ops().adamw_rows(update);  // catches up
    expect_same_rows(dense, lazy, rows, step);
    if (step == kSteps) break;
    const auto g = random(U * C, 0.3f);
    std::vector<Floats> whole(kReplicas, Floats(V * C));
    for (int r = 0; r < kReplicas; ++r)
      for (int64_t u = 0; u < U; ++u) std::copy_n(&g[r][u * C], C, &whole[r][rows[u] * C]);
    const Tensor scale = rig_->tensor({1}, std::vector<Floats>{{0.7f}, {1.0f}});
    update.g = rig_->tensor({U, C}, g), update.scale = scale;
    rig_->ops().adamw_rows(update);
    rig_->ops().adamw({.p = dense.p,
                       .g = rig_->tensor({V * C}, whole),
                       .m = dense.m,
                       .v = dense.v,
                       .ranges = ranges,
                       .scale = scale,
                       .table = table_,
                       .step = now});
  }
  rig_->expect_guards_intact();
  for (float p : rig_->read(lazy.p)) EXPECT_TRUE(std::isfinite(p));
}

}  // namespace
}  // namespace mpq
