// The statistics of quant/statistics.h over a run of values.
#pragma once
#include <cstring>

#include "quant/statistics.h"

#include "kernels/isa_begin.h"

// Values are handled in groups of this many, whatever the vector width, so that reductions have a fixed order.
inline constexpr int lanes = 16;

template <class S, class... Before>
typename S::Parts reduce_maxima(const float* x, int64_t count, const Before&... before) {
  typename S::Parts all{};
  constexpr int words = S::Parts::count;
  uint32_t lane[words][lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
#pragma GCC unroll 4
    for (int w = 0; w < words; ++w)
      for (int j = 0; j < lanes; ++j) {
        const uint32_t part = S::parts(x[i + j], before...).of[w];
        lane[w][j] = part > lane[w][j] ? part : lane[w][j];
      }
  for (int w = 0; w < words; ++w)
    for (int j = 0; j < lanes; ++j) all.of[w] = lane[w][j] > all.of[w] ? lane[w][j] : all.of[w];
  for (; i < count; ++i) all.join(S::parts(x[i], before...));
  return all;
}

// The tree over an aligned run.
template <class S, int run, class... Before>
typename S::Parts sum_run(const float* x, const Before&... before) {
  constexpr int words = S::Parts::count;
  typename S::Parts all{};
#pragma GCC unroll 4
  for (int w = 0; w < words; ++w) {
    double sum[run];
    for (int i = 0; i < run; ++i) sum[i] = S::parts(x[i], before...).of[w];
    for (int width = run / 2; width > 0; width /= 2)
      for (int i = 0; i < width; ++i) sum[i] = sum[2 * i] + sum[2 * i + 1];
    all.of[w] = sum[0];
  }
  return all;
}

template <class S, class... Before>
typename S::Parts reduce_sums(const float* x, int64_t count, const Before&... before) {
  constexpr int run = 64;
  Runs<typename S::Parts> runs;
  int64_t i = 0;
  for (; i + run <= count; i += run) runs.add(sum_run<S, run>(x + i, before...));
  if (i < count) {
    float rest[run] = {};
    std::memcpy(rest, x + i, (count - i) * sizeof(float));
    runs.add(sum_run<S, run>(rest, before...));
  }
  return runs.all();
}

template <class S, class... Before>
typename S::Parts reduce(const float* x, int64_t count, const Before&... before) {
  if constexpr (S::Parts::ordered)
    return reduce_sums<S>(x, count, before...);
  else
    return reduce_maxima<S>(x, count, before...);
}

template <class S>
typename S::Value statistic(const float* x, int64_t count) {
  if constexpr (AfterAnother<S>) {
    const auto before = statistic<typename S::Before>(x, count);
    return S::value(reduce<S>(x, count, before), count, before);
  } else {
    return S::value(reduce<S>(x, count), count);
  }
}

#include "kernels/isa_end.h"
