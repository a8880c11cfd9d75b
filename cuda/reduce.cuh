// The statistics of quant/statistics.h, by warps and blocks: the bits of kernels/reduce.h.
#pragma once
#include "cuda/common.cuh"
#include "quant/statistics.h"

namespace mpq {

__device__ __forceinline__ uint32_t from_lane(uint32_t v, int distance) {
  return __shfl_xor_sync(kAllLanes, v, distance);
}
__device__ __forceinline__ double from_lane(double v, int distance) { return __shfl_xor_sync(kAllLanes, v, distance); }

// Over groups of 1, 2, 4 ... 32 lanes, neighbours first; every lane of a group gets the result.
template <class Parts>
__device__ __forceinline__ void join_lanes(Parts& parts, int lanes) {
  for (int distance = 1; distance < lanes; distance *= 2) {
    Parts other;
#pragma unroll
    for (int w = 0; w < Parts::count; ++w) other.of[w] = from_lane(parts.of[w], distance);
    parts.join(other);
  }
}
struct JoinLanes {
  template <class Parts>
  __device__ void operator()(Parts& parts, int lanes) const {
    join_lanes(parts, lanes);
  }
};

template <class S, class... Before>
__device__ __forceinline__ typename S::Parts parts_of(const float4& v, const Before&... before) {
  auto low = S::parts(v.x, before...), high = S::parts(v.z, before...);
  low.join(S::parts(v.y, before...));
  high.join(S::parts(v.w, before...));
  low.join(high);
  return low;
}

// All of part(0) ... part(count - 1), by one warp; each lane gets it.
template <class Parts, class Part>
__device__ Parts warp_join(int count, const Part& part) {
  if constexpr (Parts::ordered) {
    Runs<Parts> runs;
    for (int first = 0; first < count; first += kWarp) {
      const int i = first + lane_id();
      Parts parts{};
      if (i < count) parts = part(i);
      join_lanes(parts, kWarp);
      runs.add(parts);
    }
    return runs.all();
  } else {
    Parts parts{};
#pragma unroll 4
    for (int i = lane_id(); i < count; i += kWarp) parts.join(part(i));
    join_lanes(parts, kWarp);
    return parts;
  }
}

template <class S, class... Before>
__device__ typename S::Parts warp_parts(const float* x, int count, const Before&... before) {
  using Parts = typename S::Parts;
  if constexpr (!Parts::ordered)
    if (count % 4 == 0 && aligned(x)) {
      const float4* values = reinterpret_cast<const float4*>(x);
      return warp_join<Parts>(count / 4, [&](int i) { return parts_of<S>(values[i], before...); });
    }
  return warp_join<Parts>(count, [&](int i) { return S::parts(x[i], before...); });
}

// Of a run of values, by one warp.
template <class S>
__device__ typename S::Value warp_statistic(const float* x, int count) {
  if constexpr (AfterAnother<S>) {
    const auto before = warp_statistic<typename S::Before>(x, count);
    return S::value(warp_parts<S>(x, count, before), count, before);
  } else {
    return S::value(warp_parts<S>(x, count), count);
  }
}

}  // namespace mpq
