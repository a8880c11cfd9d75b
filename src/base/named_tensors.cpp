#include "base/named_tensors.h"

#include <bit>
#include <cstring>

#include "base/error.h"

namespace mpq {
namespace {

struct DtypeSize {
  std::string_view name;
  int64_t bytes;
};
constexpr DtypeSize dtypes[] = {{"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1},
                                {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},
                                {"U32", 4},  {"F32", 4}, {"F64", 8}, {"I64", 8},     {"U64", 8}};

}  // namespace

std::optional<int64_t> dtype_bytes(std::string_view dtype) {
  for (const DtypeSize& d : dtypes)
    if (d.name == dtype) return d.bytes;
  return {};
}

namespace {

float half_to_float(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  const float magnitude = exponent == 0 ? static_cast<float>(fraction) * 0x1p-24f
                                        : std::bit_cast<float>((exponent + 112) << 23 | fraction << 13);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
}

template <class From, class To, class Convert>
std::vector<To> converted(const NamedTensors::Entry& entry, Convert convert) {
  std::vector<To> values(entry.count);
  for (int64_t i = 0; i < entry.count; ++i) {
    From from;
    std::memcpy(&from, entry.data.data() + i * sizeof(From), sizeof(From));
    values[i] = convert(from);
  }
  return values;
}
template <class From, class To>
std::vector<To> cast(const NamedTensors::Entry& entry) {
  return converted<From, To>(entry, [](From v) { return static_cast<To>(v); });
}

}  // namespace

void NamedTensors::add(Entry entry) {
  if (!index_.emplace(entry.name, entries_.size()).second)
    throw UserError(fmt::format("tensor \"{}\" occurs twice", entry.name));
  entries_.push_back(std::move(entry));
}

const NamedTensors::Entry* NamedTensors::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

const NamedTensors::Entry& NamedTensors::at(std::string_view name) const {
  const Entry* entry = find(name);
  if (!entry) fail(fmt::format("it has no tensor \"{}\"", name));
  return *entry;
}

std::vector<float> NamedTensors::read_f32(std::string_view name) const {
  const Entry& entry = at(name);
  if (entry.dtype == "F32") return cast<float, float>(entry);
  if (entry.dtype == "F64") return cast<double, float>(entry);
  if (entry.dtype == "F16") return converted<uint16_t, float>(entry, half_to_float);
  if (entry.dtype == "BF16")
    return converted<uint16_t, float>(entry, [](uint16_t v) { return std::bit_cast<float>(uint32_t{v} << 16); });
  fail(fmt::format("tensor \"{}\" is {}, not F32, F64, F16 or BF16", name, entry.dtype));
}

std::vector<int64_t> NamedTensors::read_i64(std::string_view name) const {
  const Entry& entry = at(name);
  if (entry.dtype == "I64" || entry.dtype == "U64") return cast<int64_t, int64_t>(entry);
  if (entry.dtype == "I32") return cast<int32_t, int64_t>(entry);
  if (entry.dtype == "U32") return cast<uint32_t, int64_t>(entry);
  if (entry.dtype == "I16") return cast<int16_t, int64_t>(entry);
  if (entry.dtype == "U16") return cast<uint16_t, int64_t>(entry);
  if (entry.dtype == "I8") return cast<int8_t, int64_t>(entry);
  if (entry.dtype == "U8" || entry.dtype == "BOOL") return cast<uint8_t, int64_t>(entry);
  fail(fmt::format("tensor \"{}\" is {}, no integer type", name, entry.dtype));
}

void NamedTensors::fail(const std::string& what) const {
  throw UserError(fmt::format("{}: {}", path_.string(), what), hint_);
}

}  // namespace mpq
