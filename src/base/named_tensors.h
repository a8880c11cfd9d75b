// Tensors by name, as a file holds them: where their bytes lie, and their values whatever their type.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mpq {

// Bytes of one value of "F32", "BF16", "I64" ...; nothing for an unknown type.
std::optional<int64_t> dtype_bytes(std::string_view dtype);

// What every format of weights shows; the classes derived from it read one format each.
class NamedTensors {
 public:
  struct Entry {
    std::string name, dtype;  // F32, BF16, I64 ...
    std::vector<int64_t> shape;
    int64_t count;                    // product of the shape
    std::span<const std::byte> data;  // row-major, little endian, not aligned
    bool is_float() const { return dtype == "F64" || dtype == "F32" || dtype == "F16" || dtype == "BF16"; }
  };

  virtual ~NamedTensors() = default;
  NamedTensors(const NamedTensors&) = delete;
  NamedTensors& operator=(const NamedTensors&) = delete;

  const std::vector<Entry>& entries() const { return entries_; }  // in the file's order
  bool contains(std::string_view name) const { return find(name) != nullptr; }
  const Entry& at(std::string_view name) const;  // UserError

  std::vector<float> read_f32(std::string_view name) const;    // from any float type; UserError for others
  std::vector<int64_t> read_i64(std::string_view name) const;  // from any integer type; UserError for others

 protected:
  NamedTensors(std::filesystem::path path, std::string hint) : path_(std::move(path)), hint_(std::move(hint)) {}
  void add(Entry entry);                                  // UserError if its name is taken
  [[noreturn]] void fail(const std::string& what) const;  // UserError naming the file

 private:
  const Entry* find(std::string_view name) const;

  std::filesystem::path path_;
  std::string hint_;
  std::vector<Entry> entries_;
  std::map<std::string, size_t, std::less<>> index_;
};

}  // namespace mpq
