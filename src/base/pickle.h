// The part of Python's pickles (protocol 2) that torch.save writes for a dict of plain tensors. Nothing is executed:
// opcodes and globals outside a short list are refused, and a "call" is one of three that only put values together.
// (The opcodes: CPython, Lib/pickletools.py. What torch writes with them: torch/_utils.py, torch/serialization.py.)
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "base/byte_reader.h"

namespace mpq {

// Objects lie in one flat list and name each other by index, so that no nesting, not even a cycle, costs stack.
class Pickle {
 public:
  using Id = uint32_t;
  using Ids = std::vector<Id>;

  struct None {};
  struct Tuple {
    Ids items;
  };
  struct List {
    Ids items;
  };
  struct Dict {
    Ids items;  // key, value, key, value ...
  };
  enum class Function { OrderedDict, RebuildTensor, RebuildParameter };
  struct StorageType {
    std::string_view dtype;  // as safetensors names it
  };
  struct Storage {
    std::string_view dtype, key;
    int64_t count;  // of values
  };
  struct Tensor {
    Id storage;
    int64_t offset;  // in values, as the strides
    std::vector<int64_t> shape, strides;
  };
  using Object =
      std::variant<None, bool, int64_t, std::string_view, Tuple, List, Dict, Function, StorageType, Storage, Tensor>;

  // Reads up to the STOP opcode. The texts are views of the reader's bytes. UserError: an opcode or a global that is
  // not on the list, a damaged pickle.
  explicit Pickle(ByteReader& reader);

  Id root() const { return root_; }
  const std::vector<Object>& objects() const { return objects_; }

  // The object as a T. UserError naming `what` if it is none.
  template <class T>
  const T& get(Id id, std::string_view what) const {
    if (const T* object = std::get_if<T>(&objects_[id])) return *object;
    throw UserError(fmt::format("{} is another kind of object than plain tensors need", what));
  }

 private:
  friend class PickleMachine;
  std::vector<Object> objects_;
  Id root_ = 0;
};

}  // namespace mpq
