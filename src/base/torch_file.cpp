#include "base/torch_file.h"

#include <algorithm>
#include <cstring>

#include "base/byte_reader.h"
#include "base/error.h"
#include "base/text.h"
#include "base/zip.h"

namespace mpq {
namespace {
using Bytes = std::span<const std::byte>;

// The pickles of 0x1950a86a20f9469cfc6c and of 1001, the legacy format's magic number and version.
constexpr std::string_view legacy_start("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.",
                                        21);

// Bytes of `count` values. UserError on overflow.
int64_t byte_count(int64_t count, std::string_view dtype) {
  int64_t bytes = 0;
  const auto width = dtype_bytes(dtype);
  check(width.has_value(), "no dtype {}", dtype);
  if (__builtin_mul_overflow(count, *width, &bytes)) throw UserError("the number of bytes overflows");
  return bytes;
}

int64_t count_values(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t d : shape) {
    if (d < 0) throw UserError(fmt::format("a dimension is {}", d));
    if (__builtin_mul_overflow(count, d, &count)) throw UserError("the number of values overflows");
  }
  return count;
}

bool is_contiguous(const Pickle::Tensor& t) {
  int64_t expected = 1;
  for (size_t i = t.shape.size(); i-- > 0; expected *= t.shape[i])
    if (t.shape[i] != 1 && t.strides[i] != expected) return false;
  return true;
}

// Every value of a tensor that is not empty lies in a storage of `count` values, or UserError.
void check_inside(const Pickle::Tensor& t, int64_t count) {
  int64_t last = t.offset;
  bool overflows = t.offset < 0;
  for (size_t i = 0; i < t.shape.size(); ++i) {
    int64_t step = 0;
    if (t.strides[i] < 0) throw UserError(fmt::format("a stride is {}", t.strides[i]));
    overflows |=
        __builtin_mul_overflow(t.shape[i] - 1, t.strides[i], &step) || __builtin_add_overflow(last, step, &last);
  }
  if (overflows || last >= count) throw UserError(fmt::format("it leaves its storage of {} values", count));
}

bool flag(const Pickle& pickle, Pickle::Id dict, std::string_view key) {
  const Pickle::Ids& items = pickle.get<Pickle::Dict>(dict, "the system's description").items;
  for (size_t i = 0; i < items.size(); i += 2)
    if (pickle.get<std::string_view>(items[i], "a key") == key) return pickle.get<bool>(items[i + 1], key);
  return false;
}

}  // namespace

TorchFile::TorchFile(const std::filesystem::path& path)
    : NamedTensors(path,
                   "only plain tensors are read, as torch.save(model.state_dict(), ...) writes them; "
                   "save_pretrained writes model.safetensors"),
      file_(path) {
  try {
    if (is_zip(file_.bytes()))
      read_zip_container();
    else if (file_.text().starts_with(legacy_start))
      read_legacy_container();
    else
      throw UserError("it is no file of torch.save");
  } catch (const UserError& error) {
    fail(error.what());
  }
}

// NAME/data.pkl, NAME/byteorder (absent in old files: little), NAME/data/KEY for every storage.
void TorchFile::read_zip_container() {
  const ZipEntries entries = read_zip(file_.bytes());
  const auto pickled = std::find_if(entries.begin(), entries.end(),
                                    [](const auto& entry) { return entry.first.ends_with("/data.pkl"); });
  if (pickled == entries.end()) throw UserError("the zip archive holds no data.pkl");
  const std::string folder = pickled->first.substr(0, pickled->first.size() - std::string_view("data.pkl").size());
  if (const auto order = entries.find(folder + "byteorder"); order != entries.end()) {
    if (ByteReader reader(checked_data(*order)); reader.text(reader.left()) != "little")
      throw UserError("its byte order is not little endian");
  }
  ByteReader reader(checked_data(*pickled));
  const Pickle pickle(reader);
  std::map<std::string_view, Bytes> checked;
  read_tensors(pickle, [&](const Pickle::Storage& storage) {
    const auto entry = entries.find(folder + "data/" + std::string(storage.key));
    if (entry == entries.end()) throw UserError(fmt::format("its storage {} is missing", storage.key));
    const auto [known, is_new] = checked.emplace(storage.key, Bytes());
    if (is_new) known->second = checked_data(*entry);
    return known->second;
  });
}

// After the start: pickles of the system, of the dict and of the storages' keys; then each storage, its number of
// values first.
void TorchFile::read_legacy_container() {
  ByteReader reader(file_.bytes(), legacy_start.size());
  const Pickle system(reader);
  if (!flag(system, system.root(), "little_endian")) throw UserError("its byte order is not little endian");
  const Pickle pickle(reader), keys(reader);
  std::map<std::string_view, std::string_view> dtypes;
  for (const Pickle::Object& object : pickle.objects())
    if (const auto* storage = std::get_if<Pickle::Storage>(&object)) dtypes[storage->key] = storage->dtype;
  std::map<std::string_view, Bytes> storages;
  for (const Pickle::Id id : keys.get<Pickle::List>(keys.root(), "the list of storages").items) {
    const auto key = keys.get<std::string_view>(id, "a storage's key");
    const auto dtype = dtypes.find(key);
    if (dtype == dtypes.end()) throw UserError(fmt::format("no tensor needs its storage {}", key));
    const uint64_t count = reader.number(8);
    if (count > reader.left()) throw UserError(fmt::format("its storage {} does not fit in the file", key));
    const Bytes data = reader.take(byte_count(static_cast<int64_t>(count), dtype->second));
    if (!storages.emplace(key, data).second) throw UserError(fmt::format("its storage {} occurs twice", key));
  }
  if (reader.left() != 0) throw UserError(fmt::format("{} bytes follow its last storage", reader.left()));
  read_tensors(pickle, [&](const Pickle::Storage& storage) {
    const auto found = storages.find(storage.key);
    if (found == storages.end()) throw UserError(fmt::format("its storage {} is missing", storage.key));
    return found->second;
  });
}

template <class FindStorage>
void TorchFile::read_tensors(const Pickle& pickle, const FindStorage& find_storage) {
  const Pickle::Ids& items = pickle.get<Pickle::Dict>(pickle.root(), "what it holds").items;
  std::map<Pickle::Id, Entry> read;  // tied tensors are one object
  for (size_t i = 0; i < items.size(); i += 2) {
    const auto name = pickle.get<std::string_view>(items[i], "a tensor's name");
    try {
      const auto& tensor = pickle.get<Pickle::Tensor>(items[i + 1], "its value");
      const auto& storage = pickle.get<Pickle::Storage>(tensor.storage, "its storage");
      auto known = read.find(items[i + 1]);
      if (known == read.end())
        known = read.emplace(items[i + 1], read_tensor(tensor, storage, find_storage(storage))).first;
      Entry entry = known->second;
      entry.name = name;
      add(std::move(entry));
    } catch (const UserError& error) {
      throw UserError(fmt::format("tensor \"{}\": {}", name, error.what()));
    }
  }
}

NamedTensors::Entry TorchFile::read_tensor(const Pickle::Tensor& tensor, const Pickle::Storage& storage, Bytes data) {
  if (byte_count(storage.count, storage.dtype) > static_cast<int64_t>(data.size()))
    throw UserError(fmt::format("its storage {} has {} bytes, too few for {} values of {}", storage.key, data.size(),
                                storage.count, storage.dtype));
  if (tensor.shape.size() != tensor.strides.size())
    throw UserError(fmt::format("{} dimensions and {} strides", tensor.shape.size(), tensor.strides.size()));
  Entry entry{.dtype = std::string(storage.dtype), .shape = tensor.shape, .count = count_values(tensor.shape)};
  if (entry.count == 0) return entry;
  check_inside(tensor, storage.count);
  const int64_t bytes = byte_count(entry.count, entry.dtype);
  entry.data = is_contiguous(tensor) ? data.subspan(byte_count(tensor.offset, entry.dtype), bytes)
                                     : make_contiguous(tensor, entry, data);
  return entry;
}

// Copies by strides. A stride of 0 makes any size of a few bytes: what is copied may not exceed the file.
Bytes TorchFile::make_contiguous(const Pickle::Tensor& tensor, const Entry& entry, Bytes data) {
  const auto width = static_cast<size_t>(*dtype_bytes(entry.dtype));
  const auto bytes = static_cast<uint64_t>(byte_count(entry.count, entry.dtype));
  if (bytes > file_.bytes().size() - copied_) throw UserError("its values, laid out, are larger than the file");
  copied_ += bytes;
  std::vector<std::byte>& copy = copies_.emplace_back(bytes);
  std::vector<int64_t> at(tensor.shape.size());
  int64_t from = tensor.offset;
  for (int64_t to = 0; to < entry.count; ++to) {
    std::memcpy(copy.data() + to * width, data.data() + from * width, width);
    for (size_t i = at.size(); i-- > 0;) {  // the next index, as an odometer counts
      if (at[i] + 1 < tensor.shape[i]) {
        ++at[i];
        from += tensor.strides[i];
        break;
      }
      from -= at[i] * tensor.strides[i];
      at[i] = 0;
    }
  }
  return copy;
}

}  // namespace mpq
