// The distinct tokens of a batch and where they stand (TokenSegments of tensor/ops.h), found on the host.
#pragma once
#include <cstdint>
#include <span>

namespace mpq {

// Writes order [T], distinct [U] and starts [U + 1]; returns U, which is at most T.
int32_t find_segments(std::span<const int32_t> tokens, int32_t* order, int32_t* distinct, int32_t* starts);

}  // namespace mpq
