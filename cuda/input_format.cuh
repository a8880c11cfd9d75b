// The gradient of a Linear's input on its way through the format that made it (tensor/ops.h, InputFormat).
#pragma once
#include "cuda/linear.cuh"
#include "cuda/quantize.cuh"

namespace mpq {

struct StraightThrough {
  __device__ float one(int, int, float dxq) const { return dxq; }
  template <bool kVectors>
  __device__ float4 four(int, int, float4 dxq) const {
    return dxq;
  }
};

// Keeps dxq, and returns what passes.
template <class Rule, int kTrained>
struct ThroughRule {
  const FormatOfInput& format;
  Rule rule;
  int replica;

  __device__ float passed(float x, float dxq) const {
    float dtrained[kTrained];
    return rule.gradient(x, dxq, dtrained);
  }
  __device__ float one(int row, int col, float dxq) const {
    format.dxq.row(replica, row)[col] = dxq;
    return passed(format.values.row(replica, row)[col], dxq);
  }
  template <bool kVectors>
  __device__ float4 four(int row, int col, float4 dxq) const {
    store_four<kVectors>(format.dxq, replica, row, col, dxq);
    const float4 x = load_four<kVectors>(format.values, replica, row, col);
    return {passed(x.x, dxq.x), passed(x.y, dxq.y), passed(x.z, dxq.z), passed(x.w, dxq.w)};
  }
};

// body(gradient) with what the replica's format does to a gradient.
template <class Body>
__device__ __forceinline__ void with_format_gradient(const FormatOfInput& format, int replica, const Body& body) {
  if (!format.slot || gradient_is_identity(spec_of(format.slot, replica))) return body(StraightThrough{});
  visit(spec_of(format.slot, replica), [&](const auto& parameters) {
    using F = std::remove_cvref_t<decltype(parameters)>;
    if constexpr (TrainedFormat<F>)
      body(ThroughRule<typename F::Rule, F::max_trained>{format, parameters.rule(trained_of(format.slot, replica)),
                                                         replica});
  });
}

}  // namespace mpq
