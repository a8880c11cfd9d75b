// Quantizes one tensor on the CPU, with the kernels of the instruction set in use. Contracts: kernels/quantize.h.
#pragma once
#include "base/simd.h"
#include "quant/spec.h"

namespace mpq {

void quantize(const QuantSpec& spec, Role role, const QuantShape& shape, const float* x, float* y,
              const float* trained = nullptr, Simd isa = simd());
void quantize_grad(const QuantSpec& spec, Role role, const QuantShape& shape, const float* x, const float* dxq,
                   float* dx, const float* trained, float* dtrained, Simd isa = simd());

}  // namespace mpq
