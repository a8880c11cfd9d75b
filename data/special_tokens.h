// Special tokens written in a text ("[MASK]") become their ids, before anything is normalized, as in Hugging Face.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mpq {

class SpecialTokens {
 public:
  void add(std::string token, int32_t id);
  const std::vector<std::pair<std::string, int32_t>>& all() const { return tokens_; }

  // Calls on_text(std::string_view) for the stretches between special tokens and on_token(id) for each of them, in
  // order. The leftmost match wins, then the longest.
  template <class OnText, class OnToken>
  void split(std::string_view text, OnText on_text, OnToken on_token) const {
    size_t begin = 0;
    for (size_t at = 0; at < text.size();) {
      const auto* found = starts_[static_cast<unsigned char>(text[at])] ? match(text.substr(at)) : nullptr;
      if (!found) {
        ++at;
        continue;
      }
      if (at > begin) on_text(text.substr(begin, at - begin));
      on_token(found->second);
      begin = at += found->first.size();
    }
    if (begin < text.size()) on_text(text.substr(begin));
  }

 private:
  const std::pair<std::string, int32_t>* match(std::string_view text) const;

  std::vector<std::pair<std::string, int32_t>> tokens_;  // longest first
  std::array<bool, 256> starts_{};                       // first bytes of the tokens
};

}  // namespace mpq
