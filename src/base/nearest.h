// The known word closest to a mistyped one, for "did you mean" hints.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace mpq {

// The candidate with the smallest edit distance, or "" if none is close enough to be what was meant.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace mpq
