// AdamW: dense, and by rows that few steps touch, with the same bits; and the bits of kernels/optimizer.cpp.
#include "cuda/cuda_ops.h"
#include "cuda/last_block.cuh"
#include "cuda/ranges.cuh"

namespace mpq {
namespace {

constexpr int kThreads = 256;

struct Coefficients {
  float rate, inverse_root, keep;
};
__device__ __forceinline__ Coefficients coefficients(const AdamWTable& t, int r, int64_t step, bool decay) {
  const int64_t at = r * t.steps + step;
  return {t.rate[at], t.inverse_root[at], decay ? t.keep[at] : 1.0f};
}

struct Value {
  float p, m, v;
};

__device__ __forceinline__ void update_moments(const AdamWTable& t, float g, Value& x) {
  const float one_minus_beta1 = __fsub_rn(1.0f, t.beta1), one_minus_beta2 = __fsub_rn(1.0f, t.beta2);
  x.m = __fmaf_rn(one_minus_beta1, g, __fmul_rn(t.beta1, x.m));
  x.v = __fmaf_rn(__fmul_rn(one_minus_beta2, g), g, __fmul_rn(t.beta2, x.v));
}
__device__ __forceinline__ float moved(const AdamWTable& t, const Coefficients& c, float kept, const Value& x) {
  const float root = __fmaf_rn(__fsqrt_rn(x.v), c.inverse_root, t.epsilon);
  return __fsub_rn(kept, __fmul_rn(c.rate, __fdiv_rn(x.m, root)));
}
__device__ __forceinline__ void update(const AdamWTable& t, const Coefficients& c, float g, Value& x) {
  update_moments(t, g, x);
  x.p = moved(t, c, __fmul_rn(x.p, c.keep), x);
}
// The same for g = 0, which rows without gradient see again and again. The move is at most rate |m| / epsilon: where
// that is less than 2^-26 of p, p does not change.
__device__ __forceinline__ void update_without_gradient(const AdamWTable& t, const Coefficients& c, float most_rate,
                                                        Value& x) {
  update_moments(t, 0.0f, x);
  const float kept = __fmul_rn(x.p, c.keep);
  x.p = fabsf(x.m) * (c.rate * most_rate) < fabsf(kept) ? kept : moved(t, c, kept, x);
}

struct Dense {
  Chunks chunks;
  Tensor p, g, m, v, scale;
  AdamWTable table;
  const int64_t* step;
};
static_assert(sizeof(Dense) <= 4000, "a kernel's arguments");

__device__ __forceinline__ float4& four(float* p) { return *reinterpret_cast<float4*>(p); }

__global__ void __launch_bounds__(kThreads) adamw_kernel(const __grid_constant__ Dense op) {
  const int r = blockIdx.z, i = threadIdx.x * 4;
  const Chunks::Chunk chunk = op.chunks.chunk(blockIdx.x);
  if (i >= chunk.length) return;
  const Coefficients c = coefficients(op.table, r, *op.step, chunk.decay);
  const float scale = op.scale.f32(r)[0];
  const int64_t at = chunk.begin + i;
  float *p = op.p.f32(r) + at, *g = op.g.f32(r) + at, *m = op.m.f32(r) + at, *v = op.v.f32(r) + at;
  if (i + 4 <= chunk.length && aligned(p) && aligned(g) && aligned(m) && aligned(v)) {
    const float4 p4 = four(p), g4 = four(g), m4 = four(m), v4 = four(v);
    Value x[4] = {{p4.x, m4.x, v4.x}, {p4.y, m4.y, v4.y}, {p4.z, m4.z, v4.z}, {p4.w, m4.w, v4.w}};
    const float gradient[4] = {g4.x, g4.y, g4.z, g4.w};
#pragma unroll
    for (int k = 0; k < 4; ++k) update(op.table, c, __fmul_rn(gradient[k], scale), x[k]);
    four(p) = {x[0].p, x[1].p, x[2].p, x[3].p};
    four(m) = {x[0].m, x[1].m, x[2].m, x[3].m};
    four(v) = {x[0].v, x[1].v, x[2].v, x[3].v};
    return;
  }
  for (int k = 0; k < min(4, chunk.length - i); ++k) {
    Value x{p[k], m[k], v[k]};
    update(op.table, c, __fmul_rn(g[k], scale), x);
    p[k] = x.p, m[k] = x.m, v[k] = x.v;
  }
}

constexpr int kRows = 2;     // a block: 32 columns of one at a time are a warp's
constexpr int kWindow = 64;  // steps before this one whose coefficients a block keeps at hand

// last[row] may be written when all replicas have read it.
__global__ void __launch_bounds__(kThreads)
    adamw_rows_kernel(const __grid_constant__ AdamWRows op, int first, uint32_t* counters) {
  __shared__ Coefficients window[kWindow];
  const int r = blockIdx.z, count = *op.count, begin = first + blockIdx.x * kRows;
  if (begin >= count) return;
  const int64_t now = *op.step, window_begin = max(now - kWindow, int64_t{0});
  if (threadIdx.x < now - window_begin)
    window[threadIdx.x] = coefficients(op.table, r, window_begin + threadIdx.x, op.decay);
  __syncthreads();
  const int cols = static_cast<int>(op.p.cols()), groups = (cols + kWarp - 1) / kWarp;
  const float most_rate = 0x1p27f / op.table.epsilon;
  for (int item = warp_id(); item < kRows * groups; item += kThreads / kWarp) {
    const int u = begin + item / groups, column = item % groups * kWarp + lane_id();
    if (u >= count || column >= cols) continue;
    const int64_t row = op.rows[u], at = row * cols + column;
    int64_t t = op.last[row];
    if (t >= now && !op.g) continue;
    float *p = op.p.f32(r) + at, *m = op.m.f32(r) + at, *v = op.v.f32(r) + at;
    Value x{*p, *m, *v};
    for (; t < window_begin; ++t)
      update_without_gradient(op.table, coefficients(op.table, r, t, op.decay), most_rate, x);
#pragma unroll 4
    for (; t < now; ++t) update_without_gradient(op.table, window[t - window_begin], most_rate, x);
    if (op.g) {
      const float g = __fmul_rn(op.g.f32(r)[int64_t{u} * cols + column], op.scale ? op.scale.f32(r)[0] : 1.0f);
      update(op.table, coefficients(op.table, r, now, op.decay), g, x);
    }
    *p = x.p, *m = x.m, *v = x.v;
  }
  if (!arrives_last(counters + blockIdx.x, gridDim.z)) return;
  const int u = begin + threadIdx.x;
  if (threadIdx.x < kRows && u < count) op.last[op.rows[u]] = static_cast<int32_t>(op.g ? now + 1 : now);
}

}  // namespace

void CudaOps::adamw(const AdamW& op) {
  for_chunks(op.ranges, kThreads * 4, [&](const Chunks& chunks) {
    const Dense dense{chunks, op.p, op.g, op.m, op.v, op.scale, op.table, op.step};
    launch(adamw_kernel, dim3(chunks.count, 1, op.p.replicas), kThreads, 0, main_.stream, dense);
  });
}

void CudaOps::adamw_rows(const AdamWRows& op) {
  constexpr int64_t kMost = int64_t{Lane::kCounters} * kRows;  // rows: a counter a block
  for (int64_t first = 0; first < op.most; first += kMost) {
    const dim3 grid(ceil_div(std::min(op.most - first, kMost), kRows), 1, op.p.replicas);
    launch(adamw_rows_kernel, grid, kThreads, 0, main_.stream, op, static_cast<int>(first), main_.counters);
  }
}

}  // namespace mpq
