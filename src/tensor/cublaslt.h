// What the CUDA backend found of NVIDIA's cuBLASLt.
#pragma once
#include <string>

namespace mpq {

// "cuBLASLt 13.1.0", or "no cuBLASLt (why)". Loads it, which takes a moment.
std::string describe_cublaslt();

}  // namespace mpq
