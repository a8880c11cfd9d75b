// One query a sequence: products of one row with many, in float32 without tensor cores. Four lanes share a key, a block
// reads every key and value once, all that it can at a time: what takes time here is to wait for memory.
#include <algorithm>

#include "cuda/attention_head.cuh"
#include "cuda/attention_paths.cuh"

namespace mpq {
namespace attention {
namespace {

constexpr int kFirstThreads = 512, kFirstWarps = kFirstThreads / kWarp;
constexpr int kKeys = kFirstThreads / 4;  // at once
constexpr int kSlice = 64;                // columns of a block's output

// ---- slices of rows ----

// The lane's share of a slice: columns 4 t + 16 i and the next three.
struct Share {
  float4 at[kSlice / 16];
};
__device__ __forceinline__ int column_of(int i) { return 16 * i + 4 * FragmentLane().t; }

// Zeros beyond the last column.
template <bool Vector>
__device__ __forceinline__ Share load(const HeadRows<Vector>& rows, int row, int first_column, int width) {
  const float* from = rows.row(row);
  Share x;
#pragma unroll
  for (int i = 0; i < kSlice / 16; ++i) {
    const int column = first_column + column_of(i);
    x.at[i] = column < width ? rows.load_or_zero(from, column) : float4{0, 0, 0, 0};
  }
  return x;
}
template <bool Vector>
__device__ __forceinline__ void store(const HeadRows<Vector>& rows, int row, int first_column, const Share& x,
                                      float factor) {
#pragma unroll
  for (int i = 0; i < kSlice / 16; ++i) {
    const float4 v = x.at[i];
    rows.store(row, first_column + column_of(i), {factor * v.x, factor * v.y, factor * v.z, factor * v.w});
  }
}
__device__ __forceinline__ float dot(const Share& a, const Share& b) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kSlice / 16; ++i) sum += attention::dot(a.at[i], b.at[i]);
  return sum;
}
// to = to * keep + x * factor.
__device__ __forceinline__ void accumulate(Share& to, float keep, const Share& x, float factor) {
  const auto add = [&](float& a, float b) { a = fmaf(factor, b, keep * a); };
#pragma unroll
  for (int i = 0; i < kSlice / 16; ++i)
    add(to.at[i].x, x.at[i].x), add(to.at[i].y, x.at[i].y), add(to.at[i].z, x.at[i].z), add(to.at[i].w, x.at[i].w);
}

// Products of the first of `one` with N rows, for all four lanes of a key.
template <int N, bool Vector>
__device__ __forceinline__ void products(float (&sum)[N], const HeadRows<Vector>& one, const HeadRows<Vector>& rows,
                                         const int (&row)[N], int width) {
#pragma unroll
  for (int i = 0; i < N; ++i) sum[i] = 0;
  for (int column = 0; column < width; column += kSlice) {
    const Share a = load(one, 0, column, width);
#pragma unroll
    for (int i = 0; i < N; ++i) sum[i] += dot(a, load(rows, row[i], column, width));
  }
#pragma unroll
  for (int i = 0; i < N; ++i) sum[i] = quad_sum(sum[i]);
}

// ---- sums over a block ----

// Over the lanes of equal t; all get it.
__device__ __forceinline__ float sum_of_keys(float x) {
#pragma unroll
  for (int offset = 4; offset < kWarp; offset *= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

// What each warp has of the block's slice.
struct Slices {
  float4 at[kFirstWarps][kSlice / 4];

  __device__ __forceinline__ void set(const Share& x) {
    const FragmentLane lane;
#pragma unroll
    for (int i = 0; i < kSlice / 16; ++i) {
      const float4 sum = {sum_of_keys(x.at[i].x), sum_of_keys(x.at[i].y), sum_of_keys(x.at[i].z),
                          sum_of_keys(x.at[i].w)};
      if (lane.g == 0) at[warp_index()][4 * i + lane.t] = sum;
    }
  }
  __device__ __forceinline__ float operator()(int warp, int column) const {
    return reinterpret_cast<const float*>(at[warp])[column];
  }
};

template <bool Vector>
__device__ __forceinline__ float dropout_of_key(const Head<Vector>& head, int key) {
  return head.dropout.on ? dropout_factor_of(head.dropout, key, 0, head.dropout_row) : 1.0f;
}

// The columns of a head, known at compile time where kWidth is not 0.
template <int kWidth, bool Vector>
__device__ __forceinline__ int columns_of(const Head<Vector>& head) {
  return kWidth > 0 ? kWidth : head.width;
}

// ---- forward ----

// Softmax and values of the keys that four lanes have seen.
struct Seen {
  float top = -INFINITY, sum = 0;
  Share value = {};
};

// Keys keys[0] < keys[1], of which the first is there.
template <bool Vector>
__device__ __forceinline__ void absorb(Seen& seen, const float (&score)[2], const Share (&value)[2],
                                       const int (&keys)[2], const Head<Vector>& head) {
  const bool both = keys[1] < head.keys;
  const float before = seen.top;
  seen.top = fmaxf(before, head.scale * (both ? fmaxf(score[0], score[1]) : score[0]));
  const float keep = expf(before - seen.top);
  const float e[2] = {expf(fmaf(score[0], head.scale, -seen.top)),
                      both ? expf(fmaf(score[1], head.scale, -seen.top)) : 0};
  seen.sum = fmaf(seen.sum, keep, e[0] + e[1]);
  accumulate(seen.value, keep, value[0], e[0] * dropout_of_key(head, keys[0]));
  accumulate(seen.value, 1, value[1], e[1] * dropout_of_key(head, keys[1]));
}

// Grid (sequences, heads x slices, replicas).
template <bool Vector, int kWidth>
__global__ void __launch_bounds__(kFirstThreads, 1)
    attention_first_kernel(const __grid_constant__ Attention op, const __grid_constant__ ElementCopies copies,
                           int stride) {
  begin_kernel();
  __shared__ Slices slices;
  __shared__ float2 softmax[kFirstWarps];  // maximum, sum of exponentials
  const Head<Vector> head(op, stride, blockIdx.z, blockIdx.x, blockIdx.y % op.heads);
  if (head.queries == 0) return;
  const int first_column = blockIdx.y / op.heads * kSlice, width = columns_of<kWidth>(head);
  const HeadRows<Vector> q = head.of_queries(op.q), k = head.of_keys(op.k), v = head.of_keys(op.v);

  Seen seen;
#pragma unroll 1
  for (int first = 8 * warp_index(); first < head.keys; first += 2 * kKeys) {
    const int keys[2] = {first + FragmentLane().g, first + FragmentLane().g + kKeys};
    const Share value[2] = {load(v, keys[0], first_column, width), load(v, keys[1], first_column, width)};
    float score[2];
    products(score, q, k, keys, width);
    if (keys[0] < head.keys) absorb(seen, score, value, keys, head);
  }
  const float top = warp_max(seen.top), weight = seen.sum > 0 ? expf(seen.top - top) : 0;
  accumulate(seen.value, weight, seen.value, 0);
  slices.set(seen.value);
  const float sum = sum_of_keys(weight * seen.sum);
  if (lane_id() == 0) softmax[warp_index()] = {top, sum};
  __syncthreads();

  const int column = threadIdx.x;
  if (column >= kSlice || first_column + column >= width) return;
  float block_top = -INFINITY, block_sum = 0, value = 0;
#pragma unroll
  for (int w = 0; w < kFirstWarps; ++w) block_top = fmaxf(block_top, softmax[w].x);
#pragma unroll
  for (int w = 0; w < kFirstWarps; ++w) {
    const float factor = expf(softmax[w].x - block_top);
    block_sum = fmaf(factor, softmax[w].y, block_sum);
    value = fmaf(factor, slices(w, column), value);
  }
  const float inverse = 1.0f / block_sum;
  head.of_queries(op.context).first[first_column + column] = value * inverse;
  store_copies(copies, head.replica, head.query_row, head.head * width + first_column + column, value * inverse);
  if (first_column + column == 0) *head.stats(op, 0) = {block_top, inverse};
}

// ---- gradient ----

// Of N keys: probabilities, what dropout multiplies them by, and dp = dcontext v; zeros where there is no key.
template <int N>
struct OfKeys {
  float p[N], factor[N], dp[N];
};
template <int N, int kWidth, bool Vector>
__device__ __forceinline__ OfKeys<N> of_keys(const AttentionGrad& op, const Head<Vector>& head, const int (&keys)[N]) {
  const int width = columns_of<kWidth>(head);
  const float2 stats = *head.stats(op.forward, 0);
  OfKeys<N> of;
  products(of.p, head.of_queries(op.forward.q), head.of_keys(op.forward.k), keys, width);
  products(of.dp, head.of_queries(op.dcontext), head.of_keys(op.forward.v), keys, width);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    of.p[i] = keys[i] < head.keys ? expf(fmaf(of.p[i], head.scale, -stats.x)) * stats.y : 0;
    of.factor[i] = dropout_of_key(head, keys[i]);
  }
  return of;
}

// The sum of dropped p dp over all keys, taken from these very products as on the CPU: what keys of one query get then
// adds up to zero but for its own roundings. Every block computes it, with the same bits.
template <int kWidth, bool Vector>
__device__ __forceinline__ float delta_of(const AttentionGrad& op, const Head<Vector>& head) {
  __shared__ float parts[kFirstWarps];
  float sum = 0;
#pragma unroll 1
  for (int first = 8 * warp_index(); first < head.keys; first += 2 * kKeys) {
    const int keys[2] = {first + FragmentLane().g, first + FragmentLane().g + kKeys};
    const OfKeys<2> of = of_keys<2, kWidth>(op, head, keys);
#pragma unroll
    for (int i = 0; i < 2; ++i) sum = fmaf(of.p[i] * of.factor[i], of.dp[i], sum);
  }
  sum = sum_of_keys(sum);
  if (threadIdx.x % kWarp == 0) parts[warp_index()] = sum;
  __syncthreads();
  float delta = 0;
#pragma unroll
  for (int w = 0; w < kFirstWarps; ++w) delta += parts[w];
  return delta;
}

// Dropped probabilities, and gradients of the unscaled scores.
template <int N, int kWidth, bool Vector>
__device__ __forceinline__ void differentiate(float (&dropped)[N], float (&ds)[N], const AttentionGrad& op,
                                              const Head<Vector>& head, const int (&keys)[N], float delta) {
  const OfKeys<N> of = of_keys<N, kWidth>(op, head, keys);
#pragma unroll
  for (int i = 0; i < N; ++i) {
    dropped[i] = of.p[i] * of.factor[i];
    ds[i] = of.p[i] * fmaf(of.factor[i], of.dp[i], -delta) * head.scale;
  }
}

// dk = ds q, dv = dropped p dcontext of the block's keys.
template <int kWidth, bool Vector>
__device__ __forceinline__ void key_grads(const AttentionGrad& op, const Head<Vector>& head, float delta, int first,
                                          int first_column) {
  const int keys[1] = {first + static_cast<int>(threadIdx.x) / 4}, width = columns_of<kWidth>(head);
  if (first + 8 * warp_index() >= head.keys) return;
  float dropped[1], ds[1];
  differentiate<1, kWidth>(dropped, ds, op, head, keys, delta);
  store(head.of_keys(op.dk), keys[0], first_column, load(head.of_queries(op.forward.q), 0, first_column, width), ds[0]);
  store(head.of_keys(op.dv), keys[0], first_column, load(head.of_queries(op.dcontext), 0, first_column, width),
        dropped[0]);
}

// dq = sum of ds k.
template <int kWidth, bool Vector>
__device__ __forceinline__ void query_grad(const AttentionGrad& op, const Head<Vector>& head, float delta,
                                           int first_column) {
  __shared__ Slices slices;
  const int width = columns_of<kWidth>(head);
  const HeadRows<Vector> k = head.of_keys(op.forward.k);
  Share dq = {};
#pragma unroll 1
  for (int first = 8 * warp_index(); first < head.keys; first += 2 * kKeys) {
    const int keys[2] = {first + FragmentLane().g, first + FragmentLane().g + kKeys};
    float dropped[2], ds[2];
    differentiate<2, kWidth>(dropped, ds, op, head, keys, delta);
#pragma unroll
    for (int i = 0; i < 2; ++i) accumulate(dq, 1, load(k, keys[i], first_column, width), ds[i]);
  }
  slices.set(dq);
  __syncthreads();
  const int column = threadIdx.x;
  if (column >= kSlice || first_column + column >= width) return;
  float sum = 0;
#pragma unroll
  for (int w = 0; w < kFirstWarps; ++w) sum += slices(w, column);
  head.of_queries(op.dq).first[first_column + column] = sum;
}

// Grid (sequences x parts, heads x slices, replicas): part 0 makes dq, the others dk and dv of 128 keys each. All
// compute the probabilities that they need.
template <bool Vector, int kWidth>
__global__ void __launch_bounds__(kFirstThreads, 1)
    attention_first_grad_kernel(const __grid_constant__ AttentionGrad op, int stride, int parts) {
  begin_kernel();
  const int part = blockIdx.x % parts, heads = op.forward.heads;
  const Head<Vector> head(op.forward, stride, blockIdx.z, blockIdx.x / parts, blockIdx.y % heads);
  const int first_column = blockIdx.y / heads * kSlice;
  if (part > 0 && (part - 1) * kKeys >= head.keys) return;
  const float delta = delta_of<kWidth>(op, head);
  if (part == 0)
    query_grad<kWidth>(op, head, delta, first_column);
  else
    key_grads<kWidth>(op, head, delta, (part - 1) * kKeys, first_column);
}

// ---- launches ----

// Calls run(Vector, width or 0).
template <class Run>
void for_reading(const Attention& op, Run run) {
  using Any = std::integral_constant<int, 0>;
  using Usual = std::integral_constant<int, 64>;
  if (width_of(op) == Usual())
    run(Vector<true>{}, Usual());
  else
    vector_rows(op) ? run(Vector<true>{}, Any()) : run(Vector<false>{}, Any());
}

dim3 grid_of(const Attention& op, int64_t parts) {
  return dim3(op.keys.sequences * parts, op.heads * ceil_div(width_of(op), kSlice), op.context.replicas);
}

}  // namespace
}  // namespace attention

void attention_first(const Attention& op, const ElementCopies& copies, cudaStream_t stream) {
  using namespace attention;
  for_reading(op, [&](auto vector, auto width) {
    launch(attention_first_kernel<vector, width>, grid_of(op, 1), kFirstThreads, 0, stream, op, copies, stride_of(op));
  });
}

void attention_first_grad(const AttentionGrad& op, cudaStream_t stream) {
  using namespace attention;
  const int parts = 1 + static_cast<int>(ceil_div(op.forward.keys.longest, kKeys));
  for_reading(op.forward, [&](auto vector, auto width) {
    launch(attention_first_grad_kernel<vector, width>, grid_of(op.forward, parts), kFirstThreads, 0, stream, op,
           stride_of(op.forward), parts);
  });
}

}  // namespace mpq
