// bf16 products of wide Linears through NVIDIA's cuBLASLt, which is loaded when the first is met: the program runs
// where there is none, and small models never wait for it. A kind of product of one size has one algorithm, without
// split sums, for every number of rows: the bits of a row, or of a chunk's sum, are its own.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "tensor/cublaslt.h"

namespace mpq {

enum class WideKind : uint8_t {
  output,      // y [rows, out] = x w^T + bias
  input_grad,  // dx [rows, in] = dy w
  weight_grad  // dw [out, in] = dy^T x, of each chunk
};

// Of a Linear with w [out, in]. Operands are bf16 with rows one behind the other, and start on 16 bytes.
struct WideProduct {
  WideKind kind;
  int64_t out, in;
  const uint16_t *left, *right;  // x and w; dy and w; dy and x
  int64_t left_apart = 0;        // from the beginning of one of its rows to that of the next; 0: one behind the other
  float* result;
  int64_t rows;  // of weight_grad: of a chunk, the same in every call
  const float* bias = nullptr;
  bool accumulate = false;  // result +=
  int64_t chunks = 1;       // of weight_grad, one behind the other, as are their results
};

class CublasLt {
 public:
  static constexpr size_t kWorkspace = size_t{32} << 20;

  virtual ~CublasLt() = default;
  // Whether it has an algorithm of ours for each product of such a Linear.
  virtual bool serves(int64_t out, int64_t in) = 0;
  virtual void run(const WideProduct& product, cudaStream_t stream) = 0;
};

// Rows of the sums that gradients of weights are made of. Small results take short ones: they have few tiles.
inline int64_t chunk_of(int64_t out, int64_t in) { return out * in < (1 << 20) ? 1024 : 2048; }

// On the thread's current GPU, kWorkspace bytes of whose memory are lent to it. Null without the library, and where
// MPQ_CUBLASLT=off.
std::unique_ptr<CublasLt> open_cublaslt(void* workspace);
}  // namespace mpq
