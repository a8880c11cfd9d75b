// What a GPU can do at best, measured by `mpq bench`: the rate of the tensor cores' instructions that the matrix
// products here are made of, and of a copy.
#pragma once
#include <cuda_runtime.h>

#include "tensor/device.h"

namespace mpq {

// Multiply-adds out of registers on every multiprocessor, a millisecond or so. Returns floating-point operations of
// float products at this precision: in fp32 one product takes three of TF32. `sums` takes kPeakSums floats.
constexpr int64_t kPeakSums = 1 << 20;
double run_multiply_adds(Precision precision, int multiprocessors, float* sums, cudaStream_t stream);

void run_copy(void* to, const void* from, size_t bytes, int multiprocessors, cudaStream_t stream);

}  // namespace mpq
