// The arguments of the Linear kernels: what tensor/ops.h says, without what a kernel has no use for.
#pragma once
#include <span>

#include "cuda/activation.cuh"
#include "cuda/cuda_ops.h"
#include "cuda/element_copies.cuh"
#include "cuda/panel_gemm.cuh"

namespace mpq {

constexpr int kMostLinears = 3;  // of one call: Q, K and V

// Blocks of one launch: problem p has count[p] of them, side by side.
struct Shares {
  int count[kMostLinears] = {}, total = 0;
  struct Share {
    int problem, block;
  };
  void set(int problem, int64_t blocks) { total += count[problem] = static_cast<int>(blocks); }
  HD Share at(int block) const {
    int p = 0;
    while (block >= count[p]) block -= count[p++];
    return {p, block};
  }
};

struct LinearProblem {
  Matrices x{}, w{}, bias{}, saved{}, y{};
  Activation activation = Activation::none;
  Dropout dropout{};
  ElementCopies copies{};  // of y
};
struct LinearArgs {
  Ragged ragged;
  LinearProblem problem[kMostLinears] = {};
  Shares columns{};
};

// dx = (accumulate ? dx : 0) + dy w of problem `first` through its input's format, then the same of the next up to
// `last`, then the slope of the activation that made x.
struct InputSum {
  Matrices dx{};
  bool accumulate = false;
  int first = 0, last = 0;
  Activation activation = Activation::none;
  Matrices saved{};
};
// InputFormat of one Linear; the slot is empty where it has none.
struct FormatOfInput {
  QuantSlot slot;
  Matrices values{}, dxq{};
};
struct InputGradArgs {
  Ragged ragged;
  Matrices dy[kMostLinears] = {}, w[kMostLinears] = {};
  FormatOfInput format[kMostLinears] = {};
  InputSum sum[kMostLinears] = {};
  int sums = 0;
  Shares columns{};
};

struct WeightGradArgs {
  Ragged ragged;
  Matrices dy[kMostLinears] = {}, x[kMostLinears] = {}, dw[kMostLinears] = {}, dbias[kMostLinears] = {};
  Shares weights{}, biases{};
  // Where every chunk of rows has a block of its own, how many the largest batch has. 0: a block goes through all.
  int chunks = 0;
  // They leave their sums: dw and dbias are chunk c's of replica r at r * chunks + c (add_chunks).
  bool leaves = false;
  // Or the last one adds them: for each replica and share, the sums and how many are there.
  float4* weight_sums = nullptr;
  float* bias_sums = nullptr;
  uint32_t* counters = nullptr;
};

// What is left to do where something stands between the product and its activation.
inline LinearProblem rest_of(const Linear1& op) {
  return {.saved = matrices(op.saved), .y = matrices(op.y), .activation = op.activation, .dropout = op.dropout};
}

#ifdef __CUDACC__

// What becomes of one element of the product: bias, activation, dropout.
__device__ __forceinline__ Activated finish(const LinearProblem& p, const Ragged& ragged, int replica, int row, int col,
                                            float product) {
  Activated a = activate(p.activation, p.bias ? product + p.bias.row(replica, 0)[col] : product);
  if (p.dropout.p > 0) a.y *= dropout_at(p.dropout, ragged, replica, row, col);
  return a;
}

#endif

void weight_grad(const WeightGradArgs& args, int replicas, Precision precision, const Lane& lane);

// Single rows (ragged.longest == 1): kernels of their own, in plain float32.
void linear_of_few_rows(LinearArgs args, int problems, int replicas, const Lane& lane);
void linear_grad_of_few_rows(InputGradArgs inputs, WeightGradArgs weights, int problems, int replicas,
                             const Lane& lane);

}  // namespace mpq
