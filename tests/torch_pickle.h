// Files in torch.save's format, put together by hand: pieces of pickles (protocol 2) and the legacy container.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace mpq {

inline std::string little_endian(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}
inline std::string pickled_text(const std::string& text) { return "X" + little_endian(text.size(), 4) + text; }
inline std::string pickled_number(int64_t n) { return "\x8a\x08" + little_endian(static_cast<uint64_t>(n), 8); }
inline std::string pickled_tuple(const std::vector<int64_t>& numbers) {
  std::string items;
  for (const int64_t n : numbers) items += pickled_number(n);
  return "(" + items + "t";
}
inline std::string pickled_global(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string pickled_storage(const std::string& key, int64_t count) {
  return "(" + pickled_text("storage") + pickled_global("torch", "FloatStorage") + pickled_text(key) +
         pickled_text("cpu") + pickled_number(count) + "NtQ";
}
inline std::string pickled_tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& shape,
                                  const std::vector<int64_t>& strides) {
  return pickled_global("torch._utils", "_rebuild_tensor_v2") + "(" + storage + pickled_number(offset) +
         pickled_tuple(shape) + pickled_tuple(strides) + "\x89}tR";
}
// An item for the dict under it on the stack.
inline std::string named(const std::string& name, const std::string& value) { return pickled_text(name) + value + "s"; }

// `storages`: for every key the number of values (8 bytes) and the values.
inline std::string legacy_torch_file(const std::string& pickle, const std::vector<std::string>& keys,
                                     const std::string& storages) {
  const std::string protocol = "\x80\x02";
  std::string listed;
  for (const std::string& key : keys) listed += pickled_text(key) + "a";
  return protocol + "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + protocol + "M\xe9\x03." + protocol + "}" +
         named("little_endian", "\x88") + "." + protocol + pickle + "." + protocol + "]" + listed + "." + storages;
}

}  // namespace mpq
