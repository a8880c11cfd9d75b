// Attention beside attention.cu and attention_grad.cu.
#pragma once
#include "cuda/element_copies.cuh"

namespace mpq {

// One query a sequence (the last layer, of which only the first rows are read on), in float32 whatever is asked for.
void attention_first(const Attention& op, const ElementCopies& copies, cudaStream_t stream);
void attention_first_grad(const AttentionGrad& op, cudaStream_t stream);

// Heads of any width, with all of float32's precision whatever is asked for.
void attention_any(const Attention& op, cudaStream_t stream);
void attention_any_grad(const AttentionGrad& op, cudaStream_t stream);

}  // namespace mpq
