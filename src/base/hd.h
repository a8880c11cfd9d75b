// HD: a function that the host and, under nvcc, the device compile from one source.
#pragma once
#ifdef __CUDACC__
#define HD __host__ __device__ __forceinline__
#else
#define HD [[gnu::always_inline]] inline
#endif
