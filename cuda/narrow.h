// bf16 copies of operands, in scratch memory: each value rounded to the nearest, ties to even, as the tile engine
// rounds it in registers.
#pragma once
#include "cuda/linear.cuh"
#include "tensor/arena.h"

namespace mpq {

// What one launch copies, eight elements a thread.
struct NarrowArgs {
  static constexpr int kMost = 9;
  struct Copy {
    const float* from = nullptr;
    uint16_t* to = nullptr;
    int64_t size = 0;  // elements, a multiple of eight
    // Of rows of the batch: how many lie before them, and how wide they are. Those beyond the batch become zeros.
    int64_t before = 0;
    int cols = 0;    // 0: all of them are there
    int blocks = 0;  // that make it
  };
  Ragged ragged;
  Copy copy[kMost] = {};
  int count = 0;
};

// bf16 rows, `apart` elements from the beginning of one to that of the next.
struct NarrowRows {
  const uint16_t* data = nullptr;
  int64_t apart = 0;
};

// Gradients of outputs, of which the sums over rows are wanted, too: those of each kSumRows rows, as
// linear_weight_grad.cu makes them.
struct NarrowSumsArgs {
  struct Copy {
    const float* from = nullptr;
    NarrowRows narrow;  // instead
    uint16_t* to = nullptr;
    int64_t copied = 0;     // row that the copy begins with
    float* sums = nullptr;  // [chunks of kSumRows][cols]
    int cols = 0;
    int64_t rows = 0;
  };
  Ragged ragged;
  int64_t before = 0;  // rows of the batch
  Copy copy[kMostLinears] = {};
  int count = 0;
};

class NarrowCopies {
 public:
  static constexpr int kSumRows = 256;

  // Makes them in the arena, which is theirs until they have been read.
  NarrowCopies(const Ragged& ragged, Arena& arena) : arena_(arena), args_{.ragged = ragged}, sums_{.ragged = ragged} {}

  // Where the copy of a replica's matrix will be, or of its rows from `first` on. One that is asked for again is
  // shared.
  const uint16_t* all_of(const Matrices& m, int replica) { return add({m.row(replica, 0), nullptr, size(m, m.rows)}); }
  const uint16_t* rows_of(const Matrices& m, int replica, int64_t first, int64_t rows) {
    return add({m.row(replica, static_cast<int>(first)), nullptr, size(m, rows), first, m.cols});
  }
  struct WithSums {
    const uint16_t* copy;
    float* sums;  // [chunks of kSumRows][cols]
  };
  // The same; all of one call begin with the same row.
  WithSums rows_and_sums_of(const Matrices& m, int replica, int64_t first, int64_t rows);
  // Of rows that are bf16 already, those from `copied` on are copied, and all summed up.
  WithSums rest_and_sums_of(const NarrowRows& m, int cols, int64_t first, int64_t rows, int64_t copied);
  void make(cudaStream_t stream);

  // Bytes of the arena that a copy takes.
  static int64_t bytes(int64_t elements) { return (elements * int64_t{sizeof(uint16_t)} + 255) / 256 * 256; }

 private:
  static int64_t size(const Matrices& m, int64_t rows) { return rows * m.cols; }
  const uint16_t* add(NarrowArgs::Copy copy);
  WithSums add(NarrowSumsArgs::Copy copy, int64_t first);

  Arena& arena_;
  NarrowArgs args_;
  NarrowSumsArgs sums_;
};

// A gradient that wide_cross_entropy left as bf16 becomes float again, in place.
void widen(const Tensor& gradient, const Ragged& ragged, cudaStream_t stream);

}  // namespace mpq
