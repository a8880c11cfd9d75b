// CUDA graphs behind the Replay interface: a key's work is captured once, and launched as a whole afterwards.
#pragma once
#include <memory>

#include "cuda/cuda_ops.h"

namespace mpq {

std::unique_ptr<Replay> open_graphs(CudaOps& ops, cudaStream_t stream);

}  // namespace mpq
