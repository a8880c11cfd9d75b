// Tensors of a checkpoint on their way from a file, checked, and into one.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/named_tensors.h"
#include "base/safetensors.h"
#include "tensor/tensor.h"

namespace mpq {

std::vector<int64_t> dims(const Shape& shape);
std::string to_text(const std::vector<int64_t>& shape);  // "[128, 512]"

// A tensor of the file at `path`. UserError for another shape ("`expected_by` implies ..."), or values that are not
// finite.
std::vector<float> read_values(const NamedTensors& file, const NamedTensors::Entry& entry,
                               const std::vector<int64_t>& shape, const std::filesystem::path& path,
                               const std::string& expected_by);

// Tensors under construction: owns the numbers until they are written.
class TensorFile {
 public:
  void add(const std::string& name, std::vector<int64_t> shape, std::vector<float> values);
  bool empty() const { return tensors_.empty(); }
  void write(const std::filesystem::path& path) const;

 private:
  std::vector<SafeTensor> tensors_;
  std::vector<std::vector<float>> values_;
};

}  // namespace mpq
