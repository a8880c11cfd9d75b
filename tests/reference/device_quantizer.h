// Golden cases of quantizers through a device's operations.
#pragma once
#include "autograd/ops.h"
#include "tensor/device.h"
#include "tests/reference/quantizer_case.h"

namespace mpq::reference {

class DeviceQuantizer {
 public:
  explicit DeviceQuantizer(Device& device) : device_(device), memory_(device, kBytes) {}

  // An activation's sequences (or rows, where it has two dimensions) are quantized each alone there. A format that
  // looks over all of a tensor sees less than it did in MASE then; so do tiles of zeros, which a NaN anywhere else
  // makes NaN.
  static bool takes(const QuantizerCase& c) {
    if (c.role != Role::activation || c.shape.d[0] == 1) return true;
    for (size_t i = 0; i < c.x.size(); ++i)
      if (c.x[i] == 0 && std::isnan(c.expected[i])) return false;
    return reach(c.spec, c.role) != Reach::sequence;
  }

  std::string difference(const QuantizerCase& c) {
    check(takes(c), "{} is no case for a device", c.id);
    arena_ = memory_.arena();
    const int64_t cols = c.shape.d[c.shape.rank - 1], rows = c.shape.size() / cols;
    const Shape shape = c.shape.rank == 1 ? Shape{cols} : Shape{rows, cols};
    const Tensor x = arena_.tensor(shape), y = arena_.tensor(shape);
    device_.copy_in(x.data, c.x.data(), c.x.size() * sizeof(float));
    QuantSlot slot{.specs = copied(&c.spec, 1)};
    plan_for(slot, c.spec);
    if (c.role == Role::activation)
      quantize_rows(c, slot, x, y);
    else
      quantize_whole(c, slot, x, y);
    std::vector<float> values(c.x.size());
    device_.copy_out(values.data(), y.data, values.size() * sizeof(float));
    return c.difference(values, device_.describe());
  }

 private:
  static constexpr size_t kBytes = size_t{1} << 26;

  template <class T>
  const T* copied(const T* values, int64_t count) {
    T* copy = arena_.array<T>(count);
    device_.copy_in(copy, values, count * sizeof(T));
    return copy;
  }

  void quantize_rows(const QuantizerCase& c, const QuantSlot& slot, const Tensor& x, const Tensor& y) {
    const auto sequences = static_cast<int32_t>(c.shape.d[0]), length = static_cast<int32_t>(x.rows() / sequences);
    std::vector<int32_t> starts;
    for (int32_t b = 0; b <= sequences; ++b) starts.push_back(b * length);
    QuantizedCopies copies;
    copies.features_rank = c.shape.rank;
    copies.add({slot, y});
    device_.ops().quantize_copies(copies, x, {copied(starts.data(), sequences + 1), sequences, x.rows(), length});
  }

  void quantize_whole(const QuantizerCase& c, const QuantSlot& slot, const Tensor& x, const Tensor& y) {
    const QuantizeWeights::Item item{.w = x, .wq = y, .slot = slot, .role = c.role};
    device_.ops().quantize_weights({{&item, 1}});
  }

  Device& device_;
  DeviceMemory memory_;
  Arena arena_;
};

}  // namespace mpq::reference
