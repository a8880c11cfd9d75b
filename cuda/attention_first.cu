// One query a sequence: products of one row with many, in float32 without tensor cores. Four lanes share a key.
#include "cuda/attention_first.cuh"

#include "cuda/attention.cuh"

namespace mpq {
namespace attention {
namespace {

constexpr int kFirstThreads = 512, kFirstWarps = kFirstThreads / kWarp, kKeys = kFirstThreads / 4;  // at once

// Over all threads, each of which gets the result. `scratch` may be used again after the next __syncthreads.
struct BlockScratch {
  float warp[kFirstWarps];
};
template <class Combine>
__device__ __forceinline__ float block_combine(float of_warp, BlockScratch& scratch, Combine combine) {
  if (threadIdx.x % kWarp == 0) scratch.warp[threadIdx.x / kWarp] = of_warp;
  __syncthreads();
  float all = scratch.warp[0];
#pragma unroll
  for (int w = 1; w < kFirstWarps; ++w) all = combine(all, scratch.warp[w]);
  return all;
}

// One row times row `row` of `rows`; all four lanes of a key get it.
template <bool Vector>
__device__ __forceinline__ float product(const HeadRows& one, const HeadRows& rows, int row) {
  float sum = 0;
#pragma unroll 4
  for (int column = 4 * (static_cast<int>(threadIdx.x) % 4); column < rows.width; column += 16)
    sum += dot(one.load<Vector>(0, column), rows.load<Vector>(row, column));
  return quad_sum(sum);
}

// out = sum over rows of weight * row: 16 threads read a row 64 columns at a time, 32 rows at once.
template <bool Vector>
__device__ __forceinline__ void weighted_sum(const HeadRows& out, const float* weight, const HeadRows& rows) {
  constexpr int kRows = kFirstThreads / 16;
  __shared__ float4 parts[kRows][16];
  const int part = static_cast<int>(threadIdx.x) / 16, lane = static_cast<int>(threadIdx.x) % 16;
  for (int column = 4 * lane; column - 4 * lane < rows.width; column += 64) {
    float4 sum = {0, 0, 0, 0};
#pragma unroll 8
    for (int row = part; row < rows.count; row += kRows) {
      const float4 x = rows.load<Vector>(row, column);
      const float w = weight[row];
      sum.x = fmaf(w, x.x, sum.x), sum.y = fmaf(w, x.y, sum.y);
      sum.z = fmaf(w, x.z, sum.z), sum.w = fmaf(w, x.w, sum.w);
    }
    __syncthreads();  // the sums of the columns before are read
    parts[part][lane] = sum;
    __syncthreads();
    if (part > 0) continue;
    for (int i = 1; i < kRows; ++i) {
      const float4 x = parts[i][lane];
      sum.x += x.x, sum.y += x.y, sum.z += x.z, sum.w += x.w;
    }
    out.store<Vector>(0, column, sum);
  }
}

// Block (sequence, head, replica).
template <bool Vector>
__global__ void __launch_bounds__(kFirstThreads) attention_first_kernel(const __grid_constant__ Attention op) {
  extern __shared__ float weight[];  // [keys]: scores, then dropped probabilities
  __shared__ BlockScratch of_top, of_sum;
  const Head head(op, blockIdx.z, blockIdx.x, blockIdx.y);
  const HeadRows q = head.of_queries(op.q), k = head.of_keys(op.k);
  const int thread = threadIdx.x;

  float largest = -INFINITY;
#pragma unroll 4
  for (int first = 0; first < head.keys; first += kKeys) {  // of all threads together: their lanes meet in sums
    const int key = first + thread / 4;
    const float score = product<Vector>(q, k, key);
    if (key >= head.keys) continue;
    largest = fmaxf(largest, score);
    if (thread % 4 == 0) weight[key] = score;
  }
  const float top = head.scale * block_combine(warp_max(largest), of_top, [](float a, float b) { return fmaxf(a, b); });

  float sum = 0;
  for (int key = thread; key < head.keys; key += kFirstThreads) {
    const float e = expf(fmaf(weight[key], head.scale, -top));
    sum += e;
    weight[key] = head.dropout.on ? e * dropout_factor_of(head.dropout, key, 0, head.dropout_row()) : e;
  }
  const float inverse = 1.0f / block_combine(warp_sum(sum), of_sum, [](float a, float b) { return a + b; });
  for (int key = thread; key < head.keys; key += kFirstThreads) weight[key] *= inverse;
  if (thread == 0) *head.stats(op, 0) = {top, inverse};
  __syncthreads();
  weighted_sum<Vector>(head.of_queries(op.context), weight, head.of_keys(op.v));
}

// What the query's row knows of one key: dropped p, and the gradient of the unscaled score.
struct KeyGrad {
  float p, ds;
};
template <bool Vector>
struct FirstRow {
  const Head head;
  const HeadRows q, k, v, dcontext;
  float2 stats;
  float delta;  // sum of p dp

  __device__ FirstRow(const AttentionGrad& op, int sequence)
      : head(op.forward, blockIdx.z, sequence, blockIdx.y),
        q(head.of_queries(op.forward.q)),
        k(head.of_keys(op.forward.k)),
        v(head.of_keys(op.forward.v)),
        dcontext(head.of_queries(op.dcontext)),
        stats(*head.stats(op.forward, 0)),
        delta(product<Vector>(dcontext, head.of_queries(op.forward.context), 0)) {}

  // The four lanes of a key together.
  __device__ KeyGrad at(int key) const {
    const float s = product<Vector>(q, k, key), dp = product<Vector>(dcontext, v, key);
    const float p = expf(fmaf(s, head.scale, -stats.x)) * stats.y;
    const float kept = head.dropout.on ? p * dropout_factor_of(head.dropout, key, 0, head.dropout_row()) : p;
    return {kept, fmaf(p, -delta, kept * dp) * head.scale};
  }
};

__device__ __forceinline__ float4 operator*(float a, float4 x) { return {a * x.x, a * x.y, a * x.z, a * x.w}; }

// dk and dv of the keys first ... first + kKeys - 1.
template <bool Vector>
__device__ __forceinline__ void write_key_grads(const AttentionGrad& op, int sequence, int first) {
  const FirstRow<Vector> row(op, sequence);
  const HeadRows dk = row.head.of_keys(op.dk), dv = row.head.of_keys(op.dv);
  const int key = first + static_cast<int>(threadIdx.x) / 4;
  const KeyGrad grad = row.at(key);
#pragma unroll 4
  for (int column = 4 * (static_cast<int>(threadIdx.x) % 4); column < dk.width; column += 16) {
    dk.store<Vector>(key, column, grad.ds * row.q.template load<Vector>(0, column));
    dv.store<Vector>(key, column, grad.p * row.dcontext.template load<Vector>(0, column));
  }
}

template <bool Vector>
__device__ __forceinline__ void write_query_grad(const AttentionGrad& op, int sequence, float* weight) {
  const FirstRow<Vector> row(op, sequence);
  for (int first = 0; first < row.head.keys; first += kKeys) {
    const int key = first + static_cast<int>(threadIdx.x) / 4;
    const KeyGrad grad = row.at(key);
    if (threadIdx.x % 4 == 0 && key < row.head.keys) weight[key] = grad.ds;
  }
  __syncthreads();
  weighted_sum<Vector>(row.head.of_queries(op.dq), weight, row.k);
}

// The first blocks, one a sequence, make dq; then come tiles of keys.
template <bool Vector>
__global__ void __launch_bounds__(kFirstThreads) attention_first_grad_kernel(const __grid_constant__ AttentionGrad op) {
  extern __shared__ float weight[];  // [keys]
  const int sequences = op.forward.keys.sequences, block = blockIdx.x;
  if (block < sequences) return write_query_grad<Vector>(op, block, weight);
  const TilePlace place = find_tile(op.forward.keys, block - sequences, kKeys);
  const int* starts = op.forward.keys.starts + place.sequence;
  if (place.first < starts[1] - starts[0]) write_key_grads<Vector>(op, place.sequence, place.first);
}

bool vector_rows(const Attention& op) { return op.q.cols() / op.heads % 4 == 0; }

size_t weight_bytes(const Attention& op) { return sizeof(float) * op.keys.longest; }

}  // namespace
}  // namespace attention

void attention_first(const Attention& op, cudaStream_t stream) {
  using namespace attention;
  const dim3 grid(op.keys.sequences, op.heads, op.context.replicas);
  launch(vector_rows(op) ? attention_first_kernel<true> : attention_first_kernel<false>, grid, kFirstThreads,
         weight_bytes(op), stream, op);
}

void attention_first_grad(const AttentionGrad& op, cudaStream_t stream) {
  using namespace attention;
  const Attention& forward = op.forward;
  const int64_t tiles = tiles_of(forward.keys.rows, forward.keys.sequences, kKeys);
  const dim3 grid(forward.keys.sequences + tiles, forward.heads, forward.context.replicas);
  launch(vector_rows(forward) ? attention_first_grad_kernel<true> : attention_first_grad_kernel<false>, grid,
         kFirstThreads, weight_bytes(forward), stream, op);
}

}  // namespace mpq
