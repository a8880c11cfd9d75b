// CUDA graphs behind the Replay interface: a key's work is captured once, and launched as a whole afterwards.
#pragma once
#include <memory>

#include "cuda/cuda_ops.h"

namespace mpq {

// Device seconds of `work` inside a graph, behind itself and before itself; and its nodes.
WorkTime time_in_graph(CudaOps& ops, cudaStream_t stream, const std::function<void()>& work);

std::unique_ptr<Replay> open_graphs(CudaOps& ops, cudaStream_t stream, int device);

}  // namespace mpq
