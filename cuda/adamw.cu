// AdamW: dense, and by rows that few steps touch, with the same bits; and the bits of kernels/optimizer.cpp.
#include "cuda/cuda_ops.h"
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
  begin_kernel();
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

// Four columns of a row, in registers.
struct Four {
  Value at[4];
  float g[4];
};

template <bool kVectors>
struct RowOf {
  float *p, *m, *v;
  const float* g;  // or null
  int cols;

  __device__ __forceinline__ Four load(int column) const {
    Four x{};
    if constexpr (kVectors) {
      const float4 p4 = four(p + column), m4 = four(m + column), v4 = four(v + column);
      const float4 g4 = g ? *reinterpret_cast<const float4*>(g + column) : float4{};
      x = {{{p4.x, m4.x, v4.x}, {p4.y, m4.y, v4.y}, {p4.z, m4.z, v4.z}, {p4.w, m4.w, v4.w}}, {g4.x, g4.y, g4.z, g4.w}};
    } else {
      for (int k = 0; k < 4 && column + k < cols; ++k) {
        x.at[k] = {p[column + k], m[column + k], v[column + k]};
        if (g) x.g[k] = g[column + k];
      }
    }
    return x;
  }
  __device__ __forceinline__ void store(int column, const Four& x) const {
    if constexpr (kVectors) {
      four(p + column) = {x.at[0].p, x.at[1].p, x.at[2].p, x.at[3].p};
      four(m + column) = {x.at[0].m, x.at[1].m, x.at[2].m, x.at[3].m};
      four(v + column) = {x.at[0].v, x.at[1].v, x.at[2].v, x.at[3].v};
    } else {
      for (int k = 0; k < 4 && column + k < cols; ++k)
        p[column + k] = x.at[k].p, m[column + k] = x.at[k].m, v[column + k] = x.at[k].v;
    }
  }
};

constexpr int kRows = 4;  // a block: a warp a row

template <bool kVectors>
__global__ void __launch_bounds__(kRows* kWarp) adamw_rows_kernel(const __grid_constant__ AdamWRows op) {
  begin_kernel();
  const int r = blockIdx.z, u = blockIdx.x * kRows + warp_id();
  const int64_t now = *op.step;
  if (u >= *op.count) return;
  const int cols = static_cast<int>(op.p.cols());
  const int64_t row = op.rows[u];
  int32_t* last = op.last + r * op.p.rows() + row;
  const int64_t first = *last;
  if (first >= now && !op.g) return;
  const RowOf<kVectors> x{op.p.f32(r) + row * cols, op.m.f32(r) + row * cols, op.v.f32(r) + row * cols,
                          op.g ? op.g.f32(r) + int64_t{u} * cols : nullptr, cols};
  const float most_rate = 0x1p27f / op.table.epsilon, scale = op.scale ? op.scale.f32(r)[0] : 1.0f;
  for (int column = lane_id() * 4; column < cols; column += kWarp * 4) {
    Four values = x.load(column);
#pragma unroll 2
    for (int64_t t = first; t < now; ++t) {
      const Coefficients c = coefficients(op.table, r, t, op.decay);
#pragma unroll
      for (int k = 0; k < 4; ++k) update_without_gradient(op.table, c, most_rate, values.at[k]);
    }
    if (op.g) {
      const Coefficients c = coefficients(op.table, r, now, op.decay);
#pragma unroll
      for (int k = 0; k < 4; ++k) update(op.table, c, __fmul_rn(values.g[k], scale), values.at[k]);
    }
    x.store(column, values);
  }
  __syncwarp();  // every lane has read *last
  if (lane_id() == 0) *last = static_cast<int32_t>(op.g ? now + 1 : now);
}

}  // namespace

// Beside the rows of the word embedding, which come next: end_step joins.
void CudaOps::adamw(const AdamW& op) {
  const Lane& lane = fork();
  for_chunks(op.ranges, kThreads * 4, [&](const Chunks& chunks) {
    const Dense dense{chunks, op.p, op.g, op.m, op.v, op.scale, op.table, op.step};
    launch(adamw_kernel, dim3(chunks.count, 1, op.p.replicas), kThreads, 0, lane.stream, dense);
  });
}

void CudaOps::adamw_rows(const AdamWRows& op) {
  const auto whole = [](const Tensor& t) {
    return !t || (t.cols() % 4 == 0 && t.replica_stride % 4 == 0 && aligned(t.f32()));
  };
  const bool vectors = whole(op.p) && whole(op.m) && whole(op.v) && whole(op.g);
  launch(vectors ? adamw_rows_kernel<true> : adamw_rows_kernel<false>,
         dim3(static_cast<unsigned>(ceil_div(op.most, kRows)), 1, op.p.replicas), kRows * kWarp, 0, main_.stream, op);
}

}  // namespace mpq
