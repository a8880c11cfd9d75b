// Sums over two GPUs through NCCL.
#pragma once
#include "cuda/cuda_ops.h"
#include "tensor/exchange.h"

namespace mpq {

struct CudaEnd {
  int device;
  cudaStream_t stream;
  CudaOps* ops;
};

// UserError where this build or this machine has no NCCL.
ExchangeEnds open_nccl(const CudaEnd& first, const CudaEnd& second);

}  // namespace mpq
