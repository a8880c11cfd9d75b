// Attention for heads of any width, with the softmax built up as keys come (Dao et al., FlashAttention, 2022, section
// 3.1).
#include "cuda/attention_any.cuh"

#include <algorithm>

namespace mpq {
namespace attention {
namespace {

// Softmax of a warp's share of the keys, for the lane's rows g and g + 8.
struct Softmax {
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
};

// One row's new scores, of keys key + 16 i, become exponentials over the maximum so far, dropped or scaled. Returns
// what the sums so far are to be multiplied by.
template <bool Vector>
__device__ __forceinline__ float absorb(float (&x)[4], float& top, float& sum, const Head<Vector>& head, int key,
                                        int query) {
  float largest = -INFINITY;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (key + 16 * i >= head.keys) x[i] = -INFINITY;
    largest = fmaxf(largest, x[i]);
  }
  const float before = top;
  top = fmaxf(before, quad_max(largest) * head.scale);
  const float rescale = expf(before - top);
  sum *= rescale;
  float factor[4];
  dropout_factors(factor, head, key, query);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float e = expf(fmaf(x[i], head.scale, -top));
    sum += e;
    x[i] = e * factor[i];
  }
  return rescale;
}

// Scores of 16 keys, of which the lane has key + 16 i, become the left operand of the values.
template <bool Vector>
__device__ __forceinline__ void absorb(Scores& s, Softmax& softmax, Sums& sums, const Head<Vector>& head, int key,
                                       int query) {
  float rescale[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float x[4] = {s[0][2 * r], s[0][2 * r + 1], s[1][2 * r], s[1][2 * r + 1]};
    rescale[r] = absorb(x, softmax.top[r], softmax.sum[r], head, key, query + 8 * r);
#pragma unroll
    for (int i = 0; i < 4; ++i) s[i / 2][2 * r + i % 2] = x[i];
  }
  if (!__any_sync(kAllLanes, rescale[0] != 1 || rescale[1] != 1)) return;
#pragma unroll
  for (int i = 0; i < kGroups * 16; ++i) sums[i / 16][i / 4 % 4][i % 4] *= rescale[i / 2 % 2];
}

// What every warp's sums count for in each row, from the maximum and sum that each has seen.
struct Shares {
  float2 seen[kWarps][kRows];
  float weight[kWarps][kRows];

  __device__ __forceinline__ void set(const Softmax& softmax) {
    const FragmentLane lane;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float sum = quad_sum(softmax.sum[r]);
      if (lane.t == 0) seen[warp_index()][8 * r + lane.g] = {softmax.top[r], sum};
    }
  }
  // Of one row, after set by all warps: {maximum, 1 / sum}.
  __device__ __forceinline__ float2 weigh(int row) {
    float top = -INFINITY, sum = 0;
    for (int w = 0; w < kWarps; ++w) top = fmaxf(top, seen[w][row].x);
    for (int w = 0; w < kWarps; ++w) {
      weight[w][row] = expf(seen[w][row].x - top);
      sum += weight[w][row] * seen[w][row].y;
    }
    const float inverse = 1.0f / sum;
    for (int w = 0; w < kWarps; ++w) weight[w][row] *= inverse;
    return {top, inverse};
  }
};

// Grid (tiles of queries, heads x slices, replicas).
template <bool Vector>
__global__ void __launch_bounds__(kThreads, 2) any_kernel(const __grid_constant__ Attention op, int stride) {
  begin_kernel();
  extern __shared__ uint4 shared[];
  __shared__ Shares shares;
  const TilePlace place = find_tile(op.queries, blockIdx.x, kRows);
  const int head_number = blockIdx.y % op.heads, first_column = blockIdx.y / op.heads * kColumns;
  const Head<Vector> head(op, stride, blockIdx.z, place.sequence, head_number);
  if (place.first >= head.queries) return;
  const int upper = place.first + FragmentLane().g, lower = upper + 8;
  const HeadRows<Vector> k = head.of_keys(op.k), v = head.of_keys(op.v);
  stage_left<kTerms>(shared, head.of_queries(op.q), upper, lower);
  __syncthreads();

  Sums sums = {};
  Softmax softmax;
  for (int first = first_key(); first < head.keys; first += kKeysARound) {
    const KeyColumns keys(first);
    Scores s;
    scores<kTerms>(s, shared, k, keys.of_g);
    absorb(s, softmax, sums, head, keys.mine[0], upper);
    add_products<kTerms>(sums, s, v, keys.mine, first_column);
  }

  shares.set(softmax);
  __syncthreads();
  if (const int row = threadIdx.x; row < kRows) {
    const float2 stats = shares.weigh(row);
    if (first_column == 0 && place.first + row < head.queries) *head.stats(op, place.first + row) = stats;
  }
  merge_and_store(reinterpret_cast<float4*>(shared), sums, head.of_queries(op.context), upper, lower, first_column,
                  [&](int warp, int row) { return shares.weight[warp][row]; });
}

}  // namespace
}  // namespace attention

void attention_any(const Attention& op, cudaStream_t stream) {
  using namespace attention;
  for_reading(op, [&](auto vector) {
    const dim3 grid(tiles_of(op.queries, kRows), op.heads * slices_of(op), op.context.replicas);
    const size_t bytes = std::max(left_bytes<kTerms>(width_of(op)), kMergeBytes);
    launch(any_kernel<vector>, grid, kThreads, bytes, stream, op, stride_of(op));
  });
}

}  // namespace mpq
