#include "data/special_tokens.h"

#include <algorithm>

#include "base/error.h"

namespace mpq {

void SpecialTokens::add(std::string token, int32_t id) {
  check(!token.empty(), "an empty special token");
  starts_[static_cast<unsigned char>(token[0])] = true;
  tokens_.emplace_back(std::move(token), id);
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
}

const std::pair<std::string, int32_t>* SpecialTokens::match(std::string_view text) const {
  for (const auto& entry : tokens_)
    if (text.starts_with(entry.first)) return &entry;
  return nullptr;
}

}  // namespace mpq
