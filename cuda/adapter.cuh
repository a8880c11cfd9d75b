// Low-rank adapters beside Linears (tensor/ops.h, Adapter), in plain float32 whatever the precision: those of up to
// three Linears in one launch. Linears without one are passed over.
#pragma once
#include "cuda/linear.cuh"

namespace mpq {

// What is left to do behind the product: the adapter, the activation, dropout. In place.
void add_adapters(std::span<const Linear1> ops, const Lane& lane);

// dlow, then the adapters' parts of dx, one Linear after the other; dy is the gradient of the product's output.
void adapter_input_grad(std::span<const Linear1Grad> ops, const Lane& lane);

// The gradients of a and b, behind adapter_input_grad.
void adapter_weight_grad(std::span<const Linear1Grad> ops, const Lane& lane);

}  // namespace mpq
