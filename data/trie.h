// A set of byte strings with values; walking it byte by byte finds every key that starts at a place.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace mpq {

class Trie {
 public:
  static constexpr int32_t kRoot = 0, kNone = -1;

  Trie();
  void add(std::string_view key, int32_t value);  // value >= 0; a repeated key keeps the last value

  // The node one byte further, or kNone.
  int32_t child(int32_t node, unsigned char byte) const {
    const uint32_t key = make_key(node, byte);
    for (size_t slot = slot_of(key);; slot = (slot + 1) & mask_) {
      if (edges_[slot].key == key) return edges_[slot].child;
      if (edges_[slot].key == kEmpty) return kNone;
    }
  }
  int32_t value(int32_t node) const { return values_[static_cast<size_t>(node)]; }  // kNone: no key ends here
  int32_t walk(int32_t node, std::string_view bytes) const;

 private:
  // Edges live in one open-addressing hash table: no per-node storage, one cache line a step.
  struct Edge {
    uint32_t key;
    int32_t child;
  };
  static constexpr uint32_t kEmpty = 0xFFFFFFFFu;

  static uint32_t make_key(int32_t node, unsigned char byte) { return static_cast<uint32_t>(node) << 8 | byte; }
  size_t slot_of(uint32_t key) const { return (key * 0x9E3779B97F4A7C15ull >> 32) & mask_; }
  int32_t add_child(int32_t node, unsigned char byte);
  void insert(Edge edge);
  void grow();

  std::vector<Edge> edges_;
  std::vector<int32_t> values_;
  size_t mask_;
};

}  // namespace mpq
