// Gradients of the embeddings' tables from the gradients of the rows: one launch with blocks of three kinds.
#include "cuda/column_sums.cuh"
#include "cuda/embed.cuh"

namespace mpq {
namespace {

constexpr int kWarps = kSumRows;  // a block: threads of one y are a warp
constexpr int kColumns = 4 * kWarp;

// The sum of some rows, kColumns of their columns by a warp: lane l holds columns l, l + 32, l + 64 and l + 96.
struct RowsSum {
  const float* first;  // of row 0
  int64_t stride;      // of a row
  int count;           // of columns that are there
  float sum[4] = {0, 0, 0, 0};

  // Lane k of `rows` holds the k-th row's number, or -1: none. Rows are added in that order; all loads come first.
  template <int kMany>
  __device__ __forceinline__ void add_batch(int rows, int from) {
    float value[kMany][4];
#pragma unroll
    for (int k = 0; k < kMany; ++k) {
      const int row = __shfl_sync(kAllLanes, rows, from + k);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = threadIdx.x + i * kWarp;
        value[k][i] = row >= 0 && column < count ? first[row * stride + column] : 0.0f;
      }
    }
#pragma unroll
    for (int k = 0; k < kMany; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[i] += value[k][i];
  }
  // row_of(i) of i = first ... last - 1.
  template <class RowOf>
  __device__ __forceinline__ void add(int first, int last, RowOf row_of) {
    for (int base = first; base < last; base += kWarp) {
      const int i = base + threadIdx.x, left = min(kWarp, last - base);
      const int rows = i < last ? row_of(i) : -1;
      int from = 0;
      for (; from + 16 <= left; from += 16) add_batch<16>(rows, from);
      for (; from < left; from += 4) add_batch<4>(rows, from);
    }
  }
  __device__ __forceinline__ void store(float* to) const {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (const int column = threadIdx.x + i * kWarp; column < count) to[column] = sum[i];
  }
};

struct Tables {
  EmbedGrad op;
  ChunkSums sums;
  int column_blocks, position_blocks;  // the first blocks; those of words follow

  // The part of a row that a warp sums, of the `block`-th block of its kind: a row and a group of its columns.
  struct Part {
    int row, column;
    RowsSum sum;
  };
  __device__ __forceinline__ Part part(int block, int warp) const {
    const int cols = static_cast<int>(op.dx.cols()), groups = (cols + kColumns - 1) / kColumns;
    const int item = block * kWarps + warp, column = item % groups * kColumns;
    return {item / groups, column, {op.dx.f32(blockIdx.z) + column, cols, min(kColumns, cols - column)}};
  }
};

// The rows of `to` that a block sums, a warp each: row_of(row, i) of i = 0 ... many(row) - 1. A sum of kMany and more
// is the sum of kWarps parts, by all warps: a text has a thousand times [MASK] or "the".
constexpr int kMany = 128;
template <class Many, class RowOf>
__device__ void sum_rows(const Tables& t, int block, const Tensor& to, int rows, Many many_of, RowOf row_of) {
  const auto store = [&](const Tables::Part& part) {
    part.sum.store(to.f32(blockIdx.z) + part.row * part.sum.stride + part.column);
  };
  const int row = t.part(block, threadIdx.x % kWarps).row, count = row < rows ? many_of(row) : -1;  // a lane, a warp's
  const int many = __shfl_sync(kAllLanes, count, threadIdx.y);
  if (many >= 0 && many < kMany) {
    Tables::Part mine = t.part(block, threadIdx.y);
    mine.sum.add(0, many, [&](int i) { return row_of(mine.row, i); });
    store(mine);
  }
  uint32_t left = __ballot_sync(kAllLanes, threadIdx.x < kWarps && count >= kMany);
  __shared__ float sums[kWarps][kColumns];
  for (; left != 0; left &= left - 1) {
    const int warp = __ffs(left) - 1, all = __shfl_sync(kAllLanes, count, warp), share = (all + kWarps - 1) / kWarps;
    const int first = threadIdx.y * share;
    Tables::Part part = t.part(block, warp);
    part.sum.add(first, min(first + share, all), [&](int i) { return row_of(part.row, i); });
    __syncthreads();  // the sums before have been read
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[threadIdx.y][threadIdx.x + i * kWarp] = part.sum.sum[i];
    __syncthreads();
    if (threadIdx.y != 0) continue;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      for (int y = 1; y < kWarps; ++y) part.sum.sum[i] += sums[y][threadIdx.x + i * kWarp];
    store(part);
  }
}

// dgamma, dbeta and dtype: every token is of type 0 (one text, no pair).
__device__ void column_block(const Tables& t, int block) {
  const int r = blockIdx.z, cols = static_cast<int>(t.op.dx.cols()), at = block * kWarp + threadIdx.x;
  const int chunks = (rows_of(t.op.forward.ragged) + t.sums.rows - 1) / t.sums.rows;
  const float sum = static_cast<float>(sum_of_chunks(t.sums.data + r * t.sums.most * 3 * cols, chunks, 3 * cols, at));
  if (threadIdx.y != 0 || at >= 3 * cols) return;
  const int kind = at / cols, column = at % cols;
  const Tensor& to = kind == 0 ? t.op.dgamma : kind == 1 ? t.op.dbeta : t.op.dtype;
  if (!to) return;
  to.f32(r)[column] = sum;
  if (kind < 2) return;
  for (int64_t type = 1; type < to.rows(); ++type) to.f32(r)[type * cols + column] = 0;
}

__device__ void position_block(const Tables& t, int block) {
  const Ragged& ragged = t.op.forward.ragged;
  sum_rows(
      t, block, t.op.dposition, static_cast<int>(t.op.dposition.rows()), [&](int) { return ragged.sequences; },
      [&](int position, int b) {
        const int row = ragged.starts[b] + position;
        return row < ragged.starts[b + 1] ? row : -1;
      });
}

__device__ void word_block(const Tables& t, int block) {
  const TokenSegments& segments = t.op.segments;
  sum_rows(
      t, block, t.op.dword, *segments.count, [&](int s) { return segments.starts[s + 1] - segments.starts[s]; },
      [&](int s, int i) { return segments.order[segments.starts[s] + i]; });
}

__global__ void __launch_bounds__(kWarps* kWarp) embed_tables_kernel(const __grid_constant__ Tables t) {
  begin_kernel();
  int block = blockIdx.x;
  if (block < t.column_blocks) return column_block(t, block);
  block -= t.column_blocks;
  if (block < t.position_blocks) return position_block(t, block);
  word_block(t, block - t.position_blocks);
}

}  // namespace

void embed_tables_grad(const EmbedGrad& op, const ChunkSums& sums, cudaStream_t stream) {
  const int64_t cols = op.dx.cols(), groups = ceil_div(cols, kColumns);
  const auto blocks_of = [&](int64_t rows) { return static_cast<int>(ceil_div(rows * groups, kWarps)); };
  const bool any_sums = op.dgamma || op.dbeta || op.dtype;
  const Tables tables{op, sums, any_sums ? static_cast<int>(ceil_div(3 * cols, kWarp)) : 0,
                      op.dposition ? blocks_of(op.dposition.rows()) : 0};
  const int word_blocks = op.dword ? blocks_of(op.segments.most) : 0;
  launch(embed_tables_kernel, dim3(tables.column_blocks + tables.position_blocks + word_blocks, 1, op.dx.replicas),
         dim3(kWarp, kWarps), 0, stream, tables);
}

}  // namespace mpq
