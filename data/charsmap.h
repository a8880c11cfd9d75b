// sentencepiece's precompiled normalization: a double-array trie (Darts-clone layout) from characters to replacements.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mpq {

class Charsmap {
 public:
  Charsmap() = default;                      // replaces nothing
  explicit Charsmap(std::string_view blob);  // UserError if damaged
  bool empty() const { return units_.empty(); }
  std::string normalize(std::string_view text) const;

 private:
  std::optional<uint32_t> find(std::string_view character) const;  // offset into replacements_

  std::vector<uint32_t> units_;
  std::string replacements_;  // each ends with NUL
};

}  // namespace mpq
