// Low-rank adapters beside Linears (tensor/ops.h, Adapter).
#pragma once
#include "tensor/ops.h"

#include "kernels/isa_begin.h"

// y += scale (dropout(x) a^T) b, for rows first ... last - 1.
void add_adapter(const Linear1& op, int r, int64_t first, int64_t last);

// dlow, and where a gradient of x is wanted dx += dropout(dlow a); dy is that of the product's output.
void adapter_input_grad(const Linear1Grad& op, int r, int64_t first, int64_t last);

// The gradients of a and b: sums over the rows, sequence by sequence.
void adapter_weight_grad(const Linear1Grad& op, int r);

#include "kernels/isa_end.h"
