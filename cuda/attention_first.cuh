// Attention where one query a sequence asks (the last layer, of which only the first rows are read on).
#pragma once
#include "cuda/common.cuh"

namespace mpq {

void attention_first(const Attention& op, cudaStream_t stream);
void attention_first_grad(const AttentionGrad& op, cudaStream_t stream);

}  // namespace mpq
