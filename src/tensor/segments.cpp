#include "tensor/segments.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

namespace mpq {
namespace {

// Stable counting sort of `order` by 11 bits of the tokens, as often as the largest token needs (vocabularies: twice).
void sort_by_token(std::span<const int32_t> tokens, std::span<int32_t> order) {
  constexpr int kBits = 11;
  constexpr uint32_t kMask = (1u << kBits) - 1;
  const uint32_t largest = tokens.empty() ? 0 : static_cast<uint32_t>(*std::max_element(tokens.begin(), tokens.end()));
  std::vector<int32_t> sorted(order.size());
  for (int shift = 0; shift < 32 && (shift == 0 || largest >> shift); shift += kBits) {
    std::array<int32_t, kMask + 2> starts{};
    const auto digit = [&](int32_t i) {
      return static_cast<uint32_t>(tokens[static_cast<size_t>(i)]) >> shift & kMask;
    };
    for (int32_t i : order) ++starts[digit(i) + 1];
    for (size_t d = 1; d < starts.size(); ++d) starts[d] += starts[d - 1];
    for (int32_t i : order) sorted[static_cast<size_t>(starts[digit(i)]++)] = i;
    std::copy(sorted.begin(), sorted.end(), order.begin());
  }
}

}  // namespace

int32_t find_segments(std::span<const int32_t> tokens, int32_t* order, int32_t* distinct, int32_t* starts) {
  std::iota(order, order + tokens.size(), 0);
  sort_by_token(tokens, {order, tokens.size()});
  int32_t count = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int32_t token = tokens[static_cast<size_t>(order[i])];
    if (count > 0 && distinct[count - 1] == token) continue;
    distinct[count] = token;
    starts[count++] = static_cast<int32_t>(i);
  }
  starts[count] = static_cast<int32_t>(tokens.size());
  return count;
}

}  // namespace mpq
