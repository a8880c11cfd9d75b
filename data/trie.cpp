#include "data/trie.h"

#include <utility>

#include "base/error.h"

namespace mpq {

Trie::Trie() : edges_(1024, Edge{kEmpty, kNone}), values_{kNone}, mask_(edges_.size() - 1) {}

void Trie::add(std::string_view key, int32_t value) {
  int32_t node = kRoot;
  for (unsigned char byte : key) {
    const int32_t next = child(node, byte);
    node = next == kNone ? add_child(node, byte) : next;
  }
  values_[static_cast<size_t>(node)] = value;
}

int32_t Trie::walk(int32_t node, std::string_view bytes) const {
  for (unsigned char byte : bytes) {
    if (node == kNone) break;
    node = child(node, byte);
  }
  return node;
}

int32_t Trie::add_child(int32_t node, unsigned char byte) {
  constexpr size_t kMaxNodes = (1u << 24) - 1;  // a node and a byte share 32 bits
  if (values_.size() >= kMaxNodes) throw UserError("the vocabulary is too large", "at most 16 million bytes of tokens");
  if (values_.size() * 2 > edges_.size()) grow();
  const auto child = static_cast<int32_t>(values_.size());
  values_.push_back(kNone);
  insert({make_key(node, byte), child});
  return child;
}

void Trie::insert(Edge edge) {
  size_t slot = slot_of(edge.key);
  while (edges_[slot].key != kEmpty) slot = (slot + 1) & mask_;
  edges_[slot] = edge;
}

void Trie::grow() {
  const auto old = std::exchange(edges_, std::vector<Edge>(edges_.size() * 2, Edge{kEmpty, kNone}));
  mask_ = edges_.size() - 1;
  for (const Edge& edge : old)
    if (edge.key != kEmpty) insert(edge);
}

}  // namespace mpq
