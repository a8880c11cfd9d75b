// The CPU driver of every number format: one tensor, one thread.
#pragma once
#include "quant/spec.h"

#ifndef MPQ_ISA
#error "outside of kernels/ include quant/quantize.h"
#endif

namespace mpq::MPQ_ISA {

// y[i] = quantized x[i] for a tensor of that shape as MASE sees it; x may equal y. trained: [trained_count(spec)] where
// the format has trainable parameters; null = its initial ones. UserError where block_tiles or dividing_tiles throw.
// For a format of reach `row`, any sub-range of the rows gives the same bits (finite values).
void quantize(const QuantSpec& spec, Role role, const QuantShape& shape, const float* x, float* y,
              const float* trained);

// The straight-through gradient: dx from dxq (may be equal), the identity for all formats without trainable parameters.
// dtrained [trained_count(spec)] += the parameters' gradients, summed in double in an order that depends on nothing but
// the size. dx or dtrained may be null.
void quantize_grad(const QuantSpec& spec, Role role, const QuantShape& shape, const float* x, const float* dxq,
                   float* dx, const float* trained, float* dtrained);

}  // namespace mpq::MPQ_ISA
