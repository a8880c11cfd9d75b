// Statistics of whole tensors, for formats that need them before the first value can be quantized: one launch a pass
// leaves a part for every chunk of a tensor, and whoever quantizes joins them. A chunk is a power of two of values, so
// its size (and with it the grid) does not change the bits.
#pragma once
#include "cuda/reduce.cuh"
#include "quant/spec.h"

namespace mpq {

constexpr int kSurveyThreads = 256;
constexpr int kSurveyWarps = kSurveyThreads / kWarp;

struct alignas(16) SurveyPart {
  unsigned char bytes[16];
};

// How tensors are cut into chunks.
struct Chunks {
  int shift = 12;
  HD int64_t of(int64_t values) const { return (values + (int64_t{1} << shift) - 1) >> shift; }
};
// Larger chunks where parts(chunks), the number of all parts, would not fit into the scratch memory.
template <class Count>
Chunks chunks_for(size_t scratch_bytes, const Count& parts) {
  Chunks chunks;
  while (chunks.shift < 30 && parts(chunks) * sizeof(SurveyPart) > scratch_bytes) ++chunks.shift;
  check(parts(chunks) * sizeof(SurveyPart) <= scratch_bytes, "{} bytes of scratch for surveys", scratch_bytes);
  return chunks;
}

// The parts of one tensor: of pass p and chunk c at parts[p * pass_stride + c].
struct Survey {
  SurveyPart* parts = nullptr;
  int64_t pass_stride = 0;
  Chunks chunks;
};

#ifdef __CUDACC__

template <class Parts>
__device__ __forceinline__ Parts& at(SurveyPart& part) {
  static_assert(sizeof(Parts) <= sizeof(SurveyPart));
  return reinterpret_cast<Parts&>(part);
}

// The tensor's statistic from its parts, by each warp.
template <class S>
__device__ typename S::Value surveyed(const Survey& survey, int64_t size) {
  using Parts = typename S::Parts;
  SurveyPart* parts = survey.parts + (passes<S>() - 1) * survey.pass_stride;
  const auto all =
      warp_join<Parts>(static_cast<int>(survey.chunks.of(size)), [&](int c) { return at<Parts>(parts[c]); });
  if constexpr (AfterAnother<S>)
    return S::value(all, size, surveyed<typename S::Before>(survey, size));
  else
    return S::value(all, size);
}

// Parts of a chunk, in thread 0; a block of kSurveyThreads.
template <class S, class... Before>
__device__ typename S::Parts chunk_parts(const float* x, int count, int chunk_size, const Before&... before) {
  using Parts = typename S::Parts;
  __shared__ SurveyPart of_warp[kSurveyWarps];
  const int run = chunk_size / kSurveyWarps, first = warp_id() * run;
  const Parts parts = warp_parts<S>(x + min(first, count), max(0, min(run, count - first)), before...);
  if (lane_id() == 0) at<Parts>(of_warp[warp_id()]) = parts;
  __syncthreads();
  Parts all{};
  if (threadIdx.x < kWarp) all = warp_join<Parts>(kSurveyWarps, [&](int w) { return at<Parts>(of_warp[w]); });
  return all;
}

// Pass `pass` over chunk `chunk` of a tensor at x, by one block of kSurveyThreads.
template <class S>
__device__ void survey_chunk(const float* x, int64_t size, int chunk, int pass, const Survey& survey) {
  if (pass >= passes<S>()) return;
  if constexpr (AfterAnother<S>)
    if (pass < passes<S>() - 1) return survey_chunk<typename S::Before>(x, size, chunk, pass, survey);
  const int chunk_size = 1 << survey.chunks.shift;
  const int64_t first = int64_t{chunk} * chunk_size;
  const int count = static_cast<int>(min(int64_t{chunk_size}, size - first));
  typename S::Parts parts{};
  if constexpr (AfterAnother<S>)
    parts = chunk_parts<S>(x + first, count, chunk_size, surveyed<typename S::Before>(survey, size));
  else
    parts = chunk_parts<S>(x + first, count, chunk_size);
  if (threadIdx.x == 0) at<typename S::Parts>(survey.parts[pass * survey.pass_stride + chunk]) = parts;
}
static __device__ void survey_chunk(const QuantSpec& spec, const float* x, int64_t size, int chunk, int pass,
                                    const Survey& survey) {
  visit(spec, [&](const auto& format) {
    using F = std::remove_cvref_t<decltype(format)>;
    if constexpr (TileFormat<F> && !FillsZeroTiles<F>)
      if (over_tensor(format)) survey_chunk<WidestStatistic<F>>(x, size, chunk, pass, survey);
  });
}

#endif

}  // namespace mpq
