// Ranges of the flat parameters cut into chunks of one size, small enough to be a kernel's argument.
#pragma once
#include <algorithm>

#include "cuda/common.cuh"

namespace mpq {

struct Chunks {
  static constexpr int kMost = 192;  // ranges: 12 layers have 154
  int64_t begin[kMost];
  int32_t length[kMost], first[kMost];  // first: number of the range's first chunk
  uint32_t decay[kMost / 32] = {};      // bits
  int ranges = 0, count = 0, size = 0;  // count of all chunks, size of a chunk

  void add(const ParameterRange& range) {
    check(range.end - range.begin <= INT32_MAX, "a range of {} parameters", range.end - range.begin);
    begin[ranges] = range.begin;
    length[ranges] = static_cast<int32_t>(range.end - range.begin);
    first[ranges] = count;
    if (range.decay) decay[ranges / 32] |= 1u << ranges % 32;
    count += static_cast<int>(ceil_div(length[ranges++], size));
  }

#ifdef __CUDACC__
  struct Chunk {
    int64_t begin;
    int length;
    bool decay;
  };
  __device__ __forceinline__ Chunk chunk(int number) const {
    int low = 0, high = ranges;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (first[middle] <= number ? low : high) = middle;
    }
    const int offset = (number - first[low]) * size;
    return {begin[low] + offset, min(size, length[low] - offset), (decay[low / 32] >> low % 32 & 1u) != 0};
  }
#endif
};

// run(chunks) for all ranges, so many at a time as one Chunks holds; once for none.
template <class Run>
void for_chunks(std::span<const ParameterRange> ranges, int size, Run run) {
  do {
    Chunks chunks;
    chunks.size = size;
    const size_t many = std::min<size_t>(ranges.size(), Chunks::kMost);
    for (const ParameterRange& range : ranges.first(many)) chunks.add(range);
    ranges = ranges.subspan(many);
    run(chunks);
  } while (!ranges.empty());
}

}  // namespace mpq
