// The safetensors format: 8 bytes header length, a JSON header, then one buffer that the tensors cover without holes.
// (Hugging Face, github.com/huggingface/safetensors.) A file is checked whole before a byte of it is used.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace mpq {

using Metadata = std::map<std::string, std::string>;

class SafeTensors {
 public:
  struct Entry {
    std::string name, dtype;  // F32, BF16, I64 ...
    std::vector<int64_t> shape;
    int64_t count;                    // product of the shape
    std::span<const std::byte> data;  // not aligned
    bool is_float() const { return dtype == "F64" || dtype == "F32" || dtype == "F16" || dtype == "BF16"; }
  };

  // UserError naming the file, and the tensor where one is to blame.
  explicit SafeTensors(const std::filesystem::path& path);

  const std::vector<Entry>& entries() const { return entries_; }  // in the order of their data
  const Metadata& metadata() const { return metadata_; }
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  const Entry& at(std::string_view name) const;  // UserError

  std::vector<float> read_f32(std::string_view name) const;    // from any float type; UserError for others
  std::vector<int64_t> read_i64(std::string_view name) const;  // from any integer type; UserError for others

 private:
  const Entry* find(std::string_view name) const;
  [[noreturn]] void fail(const std::string& what) const;
  void read_header(std::string_view header, std::span<const std::byte> buffer);

  std::filesystem::path path_;
  MappedFile file_;
  std::vector<Entry> entries_;
  std::map<std::string, size_t, std::less<>> index_;
  Metadata metadata_;
};

struct SafeTensor {
  std::string name, dtype;
  std::vector<int64_t> shape;
  const void* data;
};
// Atomically; tensors in the given order.
void write_safetensors(const std::filesystem::path& path, std::span<const SafeTensor> tensors,
                       const Metadata& metadata = {});

}  // namespace mpq
