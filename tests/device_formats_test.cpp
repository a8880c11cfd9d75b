// Every number format on every device: the bits that quantize() of one tensor gives, for random bit patterns, special
// values and tiles of zeros. Replica r quantizes by format r.
#include <gtest/gtest.h>

#include <random>

#include "autograd/ops.h"
#include "base/file.h"
#include "quant/linear_spec.h"
#include "quant/quantize.h"
#include "tests/devices.h"
#include "tests/naive/ops.h"
#include "tests/reference/device_quantizer.h"
#include "tests/rig.h"

namespace mpq {
namespace {

// A zero tile takes its maximum from the rest of the tensor; of an activation whose format looks no further than a row
// only finite values promise that it need not. So NaN and tiles of zeros meet in `mixed` only.
enum class Values { bits, zeros, mixed };

class Patterns {
 public:
  Patterns(const naive::Rows& rows, int64_t cols, Values values) : rows_(rows), cols_(cols), x_(rows.count() * cols) {
    for (int b = 0; b < rows.sequences(); ++b) {
      const bool wild = values == Values::bits || (values == Values::mixed && b % 2 == 0);
      for (int64_t i = rows.starts[b] * cols; i < rows.starts[b + 1] * cols; ++i) x_[i] = wild ? any() : tame();
      if (values != Values::bits) add_zeros(b);
    }
    if (values == Values::mixed) x_[x_.size() / 2] = NAN;
  }
  const Floats& values() const { return x_; }

 private:
  float any() {
    static constexpr float special[] = {0.0f,  -0.0f,  NAN,       INFINITY, -INFINITY, 0x1p-149f, 0x1.fffffep127f,
                                        1e-8f, -1e-8f, 0x1p-126f, 1.0f,     -1.0f,     0.5f};
    const auto draw = static_cast<uint32_t>(random_());
    if (draw % 64 == 0) return special[draw / 64 % std::size(special)];
    return draw % 4 == 0 ? last_ : last_ = std::bit_cast<float>(static_cast<uint32_t>(random_()));
  }
  float tame() {  // as in models, with runs of equal magnitude
    const auto draw = static_cast<uint32_t>(random_());
    if (draw % 4 == 0) return last_ = -last_;
    return last_ = std::ldexp(static_cast<float>(static_cast<int32_t>(draw)), -31 - static_cast<int>(draw % 23));
  }
  // Columns, rows, runs in a row, a whole sequence.
  void add_zeros(int b) {
    const int64_t first = rows_.starts[b], length = rows_.length(b);
    if (b % 5 == 4) std::fill_n(&x_[first * cols_], length * cols_, 0.0f);
    for (int64_t row = first; row < first + length; ++row)
      for (int64_t col = 0; col < cols_; ++col)
        if (col / 16 == b % 7 || row % 8 == 3 || (row % 3 == 0 && col % 64 < 32))
          x_[row * cols_ + col] = row % 2 ? 0.0f : -0.0f;
  }

  const naive::Rows& rows_;
  const int64_t cols_;
  Floats x_;
  std::mt19937 random_{7};
  float last_ = 1;
};

class DeviceFormatsTest : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (device_) rig_ = std::make_unique<Rig>(*device_);
  }

  // 2^20 patterns on a GPU; a CPU's quantizers have tests of their own.
  naive::Rows rows(Values values) const {
    std::vector<int32_t> lengths = {2, 62, 64};
    if (!is_cpu() && values == Values::bits) lengths.insert(lengths.end(), 63, 128);
    return naive::Rows(lengths);
  }

  using Run = std::function<void(const QuantSlot&, const Tensor& x, const Tensor& xq)>;
  using Reference = std::function<void(const QuantSpec&, const float* x, float* y)>;

  // run on a group of formats at a time, reference for each; UserError of the reference: not for this shape.
  void compare(const Floats& x, Shape shape, Role role, bool reaching_only, const Run& run,
               const Reference& reference) {
    std::vector<std::pair<QuantSpec, Floats>> cases;
    for (const QuantSpec& spec : known_formats()) {
      if (reaching_only && reach(spec, role) != Reach::sequence) continue;
      Floats y(x.size());
      try {
        reference(spec, x.data(), y.data());
      } catch (const UserError&) {
        continue;
      }
      cases.emplace_back(spec, std::move(y));
      if (cases.size() == 16) compare_group(cases, x, shape, run), cases.clear();
    }
    compare_group(cases, x, shape, run);
  }

  void compare_group(const std::vector<std::pair<QuantSpec, Floats>>& cases, const Floats& x, Shape shape,
                     const Run& run) {
    if (cases.empty()) return;
    rig_->reset();
    QuantSlot slot{.stride = 1};
    std::vector<QuantSpec> specs;
    for (const auto& [spec, y] : cases) {
      specs.push_back(spec);
      plan_for(slot, spec);
    }
    slot.specs = rig_->array(specs);
    Tensor from = rig_->tensor(shape, {x});
    const int R = static_cast<int>(cases.size());
    from.replicas = R, from.replica_stride = 0;
    const Tensor to = rig_->empty(shape, R);
    run(slot, from, to);
    rig_->expect_guards_intact();
    for (int r = 0; r < R; ++r) expect_same(rig_->read(to, r), cases[r].second, x, cases[r].first);
  }

 private:
  static void expect_same(const Floats& y, const Floats& expected, const Floats& x, const QuantSpec& spec) {
    const bool zeros_equal = spec.format == Format::integer && spec.integer.width == 1;  // see reference::same
    for (size_t i = 0; i < y.size(); ++i)
      if (!reference::same(y[i], expected[i], zeros_equal)) {
        ADD_FAILURE() << fmt::format("{}, value {}: {:a} becomes {:a}, expected {:a}", to_text(spec), i, x[i], y[i],
                                     expected[i]);
        return;
      }
  }

 protected:
  Run activations(const naive::Rows& rows, int rank) {
    return [this, rows, rank](const QuantSlot& slot, const Tensor& x, const Tensor& xq) {
      QuantizedCopies copies;
      copies.features_rank = rank;
      copies.add({slot, xq});
      int longest = 0;
      for (int b = 0; b < rows.sequences(); ++b) longest = std::max(longest, rows.length(b));
      rig_->ops().quantize_copies(copies, x, {rig_->array(rows.starts), rows.sequences(), rows.count(), longest});
    };
  }
  Run weights(Role role) {
    return [this, role](const QuantSlot& slot, const Tensor& w, const Tensor& wq) {
      const QuantizeWeights::Item item{.w = w, .wq = wq, .slot = slot, .role = role};
      rig_->ops().quantize_weights({{&item, 1}});
    };
  }

  void compare_activations(const naive::Rows& rows, int64_t C, int rank, Values values) {
    SCOPED_TRACE(fmt::format("rank {}, {} columns, values {}", rank, C, static_cast<int>(values)));
    const auto each_alone = [&](const QuantSpec& spec, const float* x, float* y) {
      for (int b = 0; b < rows.sequences(); ++b) {
        const int64_t step = rank == 3 ? rows.length(b) : 1;
        for (int64_t row = rows.starts[b]; row < rows.starts[b + 1]; row += step)
          quantize(spec, Role::activation, rank == 3 ? QuantShape{3, {1, step, C}} : QuantShape{2, {1, C, 1}},
                   x + row * C, y + row * C);
      }
    };
    compare(Patterns(rows, C, values).values(), {rows.count(), C}, Role::activation, values == Values::mixed,
            activations(rows, rank), each_alone);
  }

  void compare_weights(int64_t N, int64_t K, Values values) {
    SCOPED_TRACE(fmt::format("weight {} x {}, values {}", N, K, static_cast<int>(values)));
    const bool bias = K == 1;
    const Role role = bias ? Role::bias : Role::weight;
    const naive::Rows rows({bias ? 1 : static_cast<int32_t>(N)});
    const auto whole = [&](const QuantSpec& spec, const float* w, float* wq) {
      quantize(spec, role, bias ? QuantShape{1, {N, 1, 1}} : QuantShape{2, {N, K, 1}}, w, wq);
    };
    compare(Patterns(rows, N * K / rows.count(), values).values(), bias ? Shape{N} : Shape{N, K}, role, false,
            weights(role), whole);
  }

  std::unique_ptr<Rig> rig_;
};
MPQ_ON_EVERY_DEVICE(DeviceFormatsTest);

constexpr Values kAllValues[] = {Values::bits, Values::zeros, Values::mixed};

TEST_P(DeviceFormatsTest, Activations) {
  for (int rank : {3, 2})
    for (Values values : kAllValues) compare_activations(rows(values), 128, rank, values);
}

TEST_P(DeviceFormatsTest, Weights) {
  for (Values values : kAllValues) compare_weights(rows(values).count(), 128, values);
}

TEST_P(DeviceFormatsTest, Biases) {
  for (Values values : kAllValues) compare_weights(rows(values).count() * 128, 1, values);
}

// Rows that are no multiple of a tile, of a vector, of a warp; long rows; a row alone.
TEST_P(DeviceFormatsTest, OddShapes) {
  const naive::Rows rows({3, 1, 18, 6});
  for (int64_t C : {3, 40, 132, 700})
    for (int rank : {3, 2})
      for (Values values : kAllValues) compare_activations(rows, C, rank, values);
  for (Values values : kAllValues) {
    compare_weights(5, 23, values);
    compare_weights(70, 40, values);
    compare_weights(33, 768, values);
    compare_weights(257, 1, values);
  }
}

// What a library computed.
TEST_P(DeviceFormatsTest, GoldenCases) {
  reference::DeviceQuantizer on_device(*device_);
  for (const std::string name : {"quantizers", "modern"}) {
    const std::string golden = MPQ_SOURCE_DIR "/tests/golden/" + name;
    const SafeTensors tensors(golden + ".safetensors");
    int cases = 0;
    for (const auto& entry : nlohmann::json::parse(read_file(golden + ".json"))) {
      const reference::QuantizerCase c(tensors, entry);
      if (!reference::DeviceQuantizer::takes(c)) continue;
      EXPECT_EQ(on_device.difference(c), "");
      ++cases;
    }
    EXPECT_GT(cases, 100) << name;
  }
}

}  // namespace
}  // namespace mpq
