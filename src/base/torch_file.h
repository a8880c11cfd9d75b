// What torch.save(model.state_dict()) wrote, such as pytorch_model.bin: a pickled dict of plain tensors, read without
// executing anything. Two containers: a zip archive (PyTorch 1.6 and later), and what came before it, a chain of
// pickles and then the storages. (torch/serialization.py: _save, _legacy_save.)
#pragma once
#include <map>
#include <vector>

#include "base/file.h"
#include "base/named_tensors.h"
#include "base/pickle.h"

namespace mpq {

class TorchFile : public NamedTensors {
 public:
  // UserError naming the file. Entries are in the dict's order; tied tensors share their data.
  explicit TorchFile(const std::filesystem::path& path);

 private:
  using Bytes = std::span<const std::byte>;
  void read_zip_container();
  void read_legacy_container();
  template <class FindStorage>  // (const Pickle::Storage&) -> Bytes
  void read_tensors(const Pickle& pickle, const FindStorage& find_storage);
  Entry read_tensor(const Pickle::Tensor& tensor, const Pickle::Storage& storage, Bytes data);
  Bytes make_contiguous(const Pickle::Tensor& tensor, const Entry& entry, Bytes data);

  MappedFile file_;
  std::vector<std::vector<std::byte>> copies_;  // of tensors that are not contiguous in their storage
  uint64_t copied_ = 0;
};

}  // namespace mpq
