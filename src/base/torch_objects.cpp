#include "base/torch_objects.h"

#include <cctype>
#include <string>

namespace mpq {
namespace {

constexpr size_t max_rank = 8;  // bounds what one small tuple of sizes, used again and again, can cost

using Function = Pickle::Function;
using StorageType = Pickle::StorageType;

struct Global {
  std::string_view name;
  Pickle::Object object;
};
const Global globals[] = {
    {"collections.OrderedDict", Function::OrderedDict},
    {"torch._utils._rebuild_tensor_v2", Function::RebuildTensor},
    {"torch._utils._rebuild_parameter", Function::RebuildParameter},
    {"torch.FloatStorage", StorageType{"F32"}},
    {"torch.HalfStorage", StorageType{"F16"}},
    {"torch.BFloat16Storage", StorageType{"BF16"}},
    {"torch.DoubleStorage", StorageType{"F64"}},
    {"torch.LongStorage", StorageType{"I64"}},
    {"torch.IntStorage", StorageType{"I32"}},
    {"torch.ShortStorage", StorageType{"I16"}},
    {"torch.CharStorage", StorageType{"I8"}},
    {"torch.ByteStorage", StorageType{"U8"}},
    {"torch.BoolStorage", StorageType{"BOOL"}},
};

std::string printable(std::string_view text) {
  std::string shown(text.substr(0, 100));
  for (char& c : shown)
    if (!std::isprint(static_cast<unsigned char>(c))) c = '?';
  return shown;
}

std::vector<int64_t> sizes(const Pickle& pickle, Pickle::Id id, const char* what) {
  std::vector<int64_t> sizes;
  for (const Pickle::Id item : pickle.get<Pickle::Tuple>(id, what).items) {
    sizes.push_back(pickle.get<int64_t>(item, what));
    if (sizes.size() > max_rank) throw UserError(fmt::format("{} has more than {} dimensions", what, max_rank));
  }
  return sizes;
}

// (storage, offset, shape, strides, requires_grad, hooks). A seventh would say that the values are to be negated.
Pickle::Tensor make_tensor(const Pickle& pickle, const Pickle::Ids& arguments) {
  if (arguments.size() != 6) throw UserError(fmt::format("a tensor has {} arguments, not 6", arguments.size()));
  pickle.get<Pickle::Storage>(arguments[0], "a tensor's storage");
  return {arguments[0], pickle.get<int64_t>(arguments[1], "a tensor's offset"), sizes(pickle, arguments[2], "a shape"),
          sizes(pickle, arguments[3], "a tensor's strides")};
}

}  // namespace

Pickle::Object find_global(std::string_view module, std::string_view name) {
  const std::string both = fmt::format("{}.{}", module, name);
  for (const Global& global : globals)
    if (global.name == both) return global.object;
  throw UserError(fmt::format("its pickle asks for {}, which is no part of plain tensors", printable(both)));
}

Pickle::Storage make_storage(const Pickle& pickle, Pickle::Id persistent_id) {
  const Pickle::Ids& parts = pickle.get<Pickle::Tuple>(persistent_id, "a persistent id").items;
  const bool whole =
      parts.size() == 5 || (parts.size() == 6 && std::holds_alternative<Pickle::None>(pickle.objects()[parts[5]]));
  if (!whole || pickle.get<std::string_view>(parts[0], "a persistent id's kind") != "storage")
    throw UserError("a persistent id names no whole storage");
  const Pickle::Storage storage{pickle.get<StorageType>(parts[1], "a storage's type").dtype,
                                pickle.get<std::string_view>(parts[2], "a storage's key"),
                                pickle.get<int64_t>(parts[4], "a storage's size")};
  if (storage.count < 0) throw UserError(fmt::format("a storage's size is {}", storage.count));
  return storage;
}

Pickle::Object call_function(const Pickle& pickle, Function function, const Pickle::Ids& arguments) {
  switch (function) {
    case Function::OrderedDict:
      if (!arguments.empty()) throw UserError("an OrderedDict begins with items");
      return Pickle::Dict{};
    case Function::RebuildTensor:
      return make_tensor(pickle, arguments);
    case Function::RebuildParameter:  // (tensor, requires_grad, hooks)
      if (arguments.size() != 3) throw UserError("a parameter needs 3 arguments");
      return pickle.get<Pickle::Tensor>(arguments[0], "a parameter's tensor");
  }
  throw UserError("a call of nothing known");
}

}  // namespace mpq
