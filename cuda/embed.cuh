// The second half of the embeddings' gradient: from rows to tables.
#pragma once
#include "cuda/common.cuh"

namespace mpq {

// Sums over chunks of rows, [R][most chunks][dgamma | dbeta | dtype].
struct ChunkSums {
  float* data;
  int rows;      // a chunk
  int64_t most;  // chunks there is room for
};

// op.dx holds the gradient of the sum.
void embed_tables_grad(const EmbedGrad& op, const ChunkSums& sums, cudaStream_t stream);

}  // namespace mpq
