// Whether all rows of a batch have to be seen (tensor/ops.h, NeedWhole).
#include "cuda/last_block.cuh"
#include "cuda/quantize.cuh"

namespace mpq {

namespace {

constexpr int kRows = 8;  // a block: as many warps

// By a warp, whose lanes take a tile each.
__device__ bool has_zero_tile(const QuantSpec& spec, const float* x, int cols) {
  const int width = static_cast<int>(filled_tile_width(spec, cols));
  bool found = false;
  for (int c = lane_id() * width; width > 0 && c < cols; c += kWarp * width) {
    uint32_t any = 0;
    for (int i = c; i < min(c + width, cols); ++i) any |= magnitude_bits(x[i]);
    found |= any == 0;
  }
  return found;
}

// grid (rows / kRows, copies, R). counters [2]: blocks that have come, and whether one has found such a tile.
__global__ void __launch_bounds__(kRows* kWarp)
    need_whole_kernel(const __grid_constant__ NeedWhole op, uint32_t* counters) {
  begin_kernel();
  const int replica = static_cast<int>(blockIdx.z), row = static_cast<int>(blockIdx.x) * kRows + warp_id();
  const NeedWhole::FirstRows& rows = op.rows[blockIdx.y];
  const int cols = static_cast<int>(rows.x.cols());
  const bool found = row < op.whole.sequences &&
                     has_zero_tile(spec_of(rows.slot, replica), rows.x.f32(replica) + int64_t{row} * cols, cols);
  if (__syncthreads_or(found) && threadIdx.x == 0) atomicOr(&counters[1], 1u);
  if (!arrives_last(&counters[0], gridDim.x * gridDim.y * gridDim.z)) return;
  const bool needed = __ldcg(&counters[1]) != 0;
  __syncthreads();  // all have read it
  if (threadIdx.x == 0) counters[1] = 0;
  for (int b = static_cast<int>(threadIdx.x); b <= op.whole.sequences; b += kRows * kWarp)
    op.starts[b] = needed ? op.whole.starts[b] : 0, op.ones[b] = needed ? b : 0;
}

}  // namespace

// What depends on it is enqueued anyhow, for batches that have rows or none.
bool CudaOps::need_whole(const NeedWhole& op) {
  const dim3 grid(static_cast<unsigned>(ceil_div(op.whole.sequences, kRows)), op.count, op.rows[0].x.replicas);
  launch(need_whole_kernel, grid, kRows * kWarp, 0, main_.stream, op, main_.counters);
  return true;
}

}  // namespace mpq
