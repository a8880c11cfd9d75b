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
#include "base/named_tensors.h"

namespace mpq {

using Metadata = std::map<std::string, std::string>;

class SafeTensors : public NamedTensors {
 public:
  // UserError naming the file, and the tensor where one is to blame. Its entries are in the order of their data.
  explicit SafeTensors(const std::filesystem::path& path);

  const Metadata& metadata() const { return metadata_; }

 private:
  void read_header(std::string_view header, std::span<const std::byte> buffer);

  MappedFile file_;
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
