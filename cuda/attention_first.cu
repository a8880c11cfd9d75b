// One query a sequence: products of one row with many, in float32 without tensor cores. Four lanes share a key.
#include "cuda/attention_paths.cuh"

#include <algorithm>

#include "cuda/attention_head.cuh"

namespace mpq {
namespace attention {
namespace {

constexpr int kFirstThreads = 512, kFirstWarps = kFirstThreads / kWarp;
constexpr int kKeys = kFirstThreads / 4;  // at once

// Over all threads, in the order of the warps; every thread gets the result. The threads use `scratch` once.
struct BlockScratch {
  float of_warp[kFirstWarps];
};
__device__ __forceinline__ float block_sum(float x, BlockScratch& scratch) {
  x = warp_sum(x);
  if (threadIdx.x % kWarp == 0) scratch.of_warp[warp_index()] = x;
  __syncthreads();
  float sum = 0;
#pragma unroll
  for (int w = 0; w < kFirstWarps; ++w) sum += scratch.of_warp[w];
  return sum;
}
__device__ __forceinline__ float block_max(float x, BlockScratch& scratch) {
  x = warp_max(x);
  if (threadIdx.x % kWarp == 0) scratch.of_warp[warp_index()] = x;
  __syncthreads();
  float top = -INFINITY;
#pragma unroll
  for (int w = 0; w < kFirstWarps; ++w) top = fmaxf(top, scratch.of_warp[w]);
  return top;
}

// The first of `one` times row `row` of `rows`; all four lanes of a key get it.
template <bool Vector>
__device__ __forceinline__ float product(const HeadRows<Vector>& one, const HeadRows<Vector>& rows, int row) {
  float sum = 0;
#pragma unroll 4
  for (int column = 4 * FragmentLane().t; column < rows.width; column += 16)
    sum += dot(one.load_or_zero(one.first, column), rows.load(rows.row(row), column));
  return quad_sum(sum);
}

// First of out = sum over rows of weight * row: 16 threads read a row 64 columns at a time, 32 rows at once.
template <bool Vector>
__device__ __forceinline__ void weighted_sum(const HeadRows<Vector>& out, const float* weight,
                                             const HeadRows<Vector>& rows) {
  constexpr int kAtOnce = kFirstThreads / 16;
  __shared__ float4 parts[kAtOnce][16];
  const int part = static_cast<int>(threadIdx.x) / 16, lane = static_cast<int>(threadIdx.x) % 16;
  for (int first_column = 0; first_column < rows.width; first_column += 64) {
    const int column = first_column + 4 * lane;
    float4 sum = {0, 0, 0, 0};
#pragma unroll 8
    for (int row = part; row < rows.count && column < rows.width; row += kAtOnce) {
      const float4 x = rows.load(rows.row(row), column);
      const float w = weight[row];
      sum.x = fmaf(w, x.x, sum.x), sum.y = fmaf(w, x.y, sum.y);
      sum.z = fmaf(w, x.z, sum.z), sum.w = fmaf(w, x.w, sum.w);
    }
    __syncthreads();  // the parts of the columns before are read
    parts[part][lane] = sum;
    __syncthreads();
    if (part > 0) continue;
#pragma unroll 8
    for (int i = 1; i < kAtOnce; ++i) {
      const float4 x = parts[i][lane];
      sum.x += x.x, sum.y += x.y, sum.z += x.z, sum.w += x.w;
    }
    out.store(0, column, sum);
  }
}

template <bool Vector>
__device__ __forceinline__ float dropout_of_key(const Head<Vector>& head, int key) {
  return head.dropout.on ? dropout_factor_of(head.dropout, key, 0, head.dropout_row()) : 1.0f;
}

// Grid (sequences, heads, replicas).
template <bool Vector>
__global__ void __launch_bounds__(kFirstThreads)
    attention_first_kernel(const __grid_constant__ Attention op, int stride) {
  begin_kernel();
  extern __shared__ float weight[];  // [keys]: scores, then dropped probabilities
  __shared__ BlockScratch of_top, of_sum;
  const Head<Vector> head(op, stride, blockIdx.z, blockIdx.x, blockIdx.y);
  const HeadRows<Vector> q = head.of_queries(op.q), k = head.of_keys(op.k);
  const int thread = threadIdx.x;

  float largest = -INFINITY;
#pragma unroll 2
  for (int first = 0; first < head.keys; first += kKeys) {  // all threads together: lanes meet in sums
    const int key = first + thread / 4;
    const float score = product(q, k, key);
    if (key >= head.keys) continue;
    largest = fmaxf(largest, score);
    if (thread % 4 == 0) weight[key] = score;
  }
  const float top = head.scale * block_max(largest, of_top);

  float sum = 0;
  for (int key = thread; key < head.keys; key += kFirstThreads) {
    const float e = expf(fmaf(weight[key], head.scale, -top));
    sum += e;
    weight[key] = e * dropout_of_key(head, key);
  }
  const float inverse = 1.0f / block_sum(sum, of_sum);
  for (int key = thread; key < head.keys; key += kFirstThreads) weight[key] *= inverse;
  if (thread == 0) *head.stats(op, 0) = {top, inverse};
  __syncthreads();
  weighted_sum(head.of_queries(op.context), weight, head.of_keys(op.v));
}

// Keys begin ... end - 1: dk = ds q, dv = dropped p dcontext.
template <bool Vector>
__device__ __forceinline__ void write_key_grads(const Head<Vector>& head, const AttentionGrad& op, const float* ds,
                                                const float* dropped, int begin, int end) {
  const HeadRows<Vector> q = head.of_queries(op.forward.q), dcontext = head.of_queries(op.dcontext);
  const HeadRows<Vector> dk = head.of_keys(op.dk), dv = head.of_keys(op.dv);
  for (int key = begin + static_cast<int>(threadIdx.x) / 4; key < end; key += kKeys)
#pragma unroll 4
    for (int column = 4 * FragmentLane().t; column < head.width; column += 16) {
      const float4 a = q.load(q.first, column), b = dcontext.load(dcontext.first, column);
      dk.store(key, column, {ds[key] * a.x, ds[key] * a.y, ds[key] * a.z, ds[key] * a.w});
      dv.store(key, column, {dropped[key] * b.x, dropped[key] * b.y, dropped[key] * b.z, dropped[key] * b.w});
    }
}

// Grid (sequences x shares, heads, replicas): all of a sequence's blocks compute its probabilities, each writes its
// share of dk and dv, the first dq. The sum of p dp is taken from these very products, as kernels/attention.cpp does
// and says why.
template <bool Vector>
__global__ void __launch_bounds__(kFirstThreads)
    attention_first_grad_kernel(const __grid_constant__ AttentionGrad op, int stride, int shares) {
  begin_kernel();
  extern __shared__ float p[];  // [longest] each: probabilities, the same dropped, gradients of the unscaled scores
  __shared__ BlockScratch of_delta;
  float *dropped = p + op.forward.keys.longest, *ds = dropped + op.forward.keys.longest;
  const int share = blockIdx.x % shares, thread = threadIdx.x;
  const Head<Vector> head(op.forward, stride, blockIdx.z, blockIdx.x / shares, blockIdx.y);
  const HeadRows<Vector> q = head.of_queries(op.forward.q), dcontext = head.of_queries(op.dcontext);
  const HeadRows<Vector> k = head.of_keys(op.forward.k), v = head.of_keys(op.forward.v);
  const float2 stats = *head.stats(op.forward, 0);

  float delta = 0;
#pragma unroll 2
  for (int first = 0; first < head.keys; first += kKeys) {
    const int key = first + thread / 4;
    const float score = product(q, k, key), dp = product(dcontext, v, key);
    if (thread % 4 > 0 || key >= head.keys) continue;
    p[key] = expf(fmaf(score, head.scale, -stats.x)) * stats.y;
    dropped[key] = p[key] * dropout_of_key(head, key);
    ds[key] = dropped[key] * dp;
    delta += ds[key];
  }
  delta = block_sum(delta, of_delta);
  for (int key = thread; key < head.keys; key += kFirstThreads) ds[key] = fmaf(p[key], -delta, ds[key]) * head.scale;
  __syncthreads();
  const int each = static_cast<int>(ceil_div(head.keys, shares));
  write_key_grads(head, op, ds, dropped, share * each, min(head.keys, (share + 1) * each));
  if (share == 0) weighted_sum(head.of_queries(op.dq), ds, k);
}

// Enough to fill a GPU with blocks; more would only compute the same probabilities again. A share changes no bit.
int shares_of(const Attention& op) {
  constexpr int64_t kBlocks = 128, kMost = 4;
  const int64_t heads = int64_t{op.keys.sequences} * op.heads * op.context.replicas;
  return static_cast<int>(std::clamp(ceil_div(kBlocks, heads), int64_t{1}, kMost));
}

// Calls run(Vector).
template <class Run>
void for_reading(const Attention& op, Run run) {
  vector_rows(op) ? run(Vector<true>{}) : run(Vector<false>{});
}

}  // namespace
}  // namespace attention

void attention_first(const Attention& op, cudaStream_t stream) {
  const dim3 grid(op.keys.sequences, op.heads, op.context.replicas);
  attention::for_reading(op, [&](auto vector) {
    launch(attention::attention_first_kernel<vector>, grid, attention::kFirstThreads, sizeof(float) * op.keys.longest,
           stream, op, attention::stride_of(op));
  });
}

void attention_first_grad(const AttentionGrad& op, cudaStream_t stream) {
  const int shares = attention::shares_of(op.forward);
  const dim3 grid(op.forward.keys.sequences * shares, op.forward.heads, op.forward.context.replicas);
  attention::for_reading(op.forward, [&](auto vector) {
    launch(attention::attention_first_grad_kernel<vector>, grid, attention::kFirstThreads,
           3 * sizeof(float) * op.forward.keys.longest, stream, op, attention::stride_of(op.forward), shares);
  });
}

}  // namespace mpq
