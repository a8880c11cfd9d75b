#include "base/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/text.h"

namespace mpq {
namespace {
using Json = nlohmann::json;

constexpr uint64_t max_header = 100'000'000;  // as in the reference implementation
constexpr size_t max_tensors = 100'000;
constexpr int max_depth = 3;  // {"name": {"shape": [...]}}

// Reads the header once without keeping it, and refuses what a DOM would hide or choke on: duplicate keys, deep
// nesting, floods of tensors. UserError.
class Guard : public nlohmann::json_sax<Json> {
 public:
  bool start_object(size_t) override {
    enter();
    keys_[depth_].clear();
    return true;
  }
  bool start_array(size_t) override {
    enter();
    return true;
  }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }
  bool key(std::string& key) override {
    if (!keys_[depth_].insert(key).second) throw UserError(fmt::format("key \"{}\" occurs twice", key));
    if (keys_[depth_].size() > max_tensors) throw UserError(fmt::format("more than {} tensors", max_tensors));
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(int64_t) override { return true; }
  bool number_unsigned(uint64_t) override { return true; }
  bool number_float(double, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(Json::binary_t&) override { return true; }
  bool parse_error(size_t, const std::string&, const Json::exception& error) override {
    throw UserError(fmt::format("its header is not JSON ({})", error.what()));
  }

 private:
  void enter() {
    if (++depth_ > max_depth) throw UserError("the header is nested too deeply");
  }
  bool leave() { return --depth_, true; }
  int depth_ = 0;
  std::set<std::string> keys_[max_depth + 1];  // of the objects now open
};

uint64_t little_endian_u64(std::span<const std::byte> bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<uint64_t>(bytes[i]);
  return value;
}

uint64_t unsigned_number(const Json& value, const char* what) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > INT64_MAX)
    throw UserError(fmt::format("{} must be an integer from 0 to 2^63-1", what));
  return value.get<uint64_t>();
}

const Json& member(const Json& object, const char* key, Json::value_t type) {
  const auto found = object.find(key);
  if (found == object.end()) throw UserError(fmt::format("{} is missing", key));
  if (found->type() != type) throw UserError(fmt::format("{} has a wrong type", key));
  return *found;
}

// One entry of the header; its data must lie inside `buffer`. UserError without the names, which the caller adds.
SafeTensors::Entry read_entry(const std::string& name, const Json& info, std::span<const std::byte> buffer) {
  if (!info.is_object()) throw UserError("its description is no object");
  SafeTensors::Entry entry{.name = name, .dtype = member(info, "dtype", Json::value_t::string), .count = 1};
  const auto width = dtype_bytes(entry.dtype);
  if (!width) throw UserError(fmt::format("unknown dtype \"{}\"", entry.dtype));
  for (const Json& d : member(info, "shape", Json::value_t::array)) {
    entry.shape.push_back(static_cast<int64_t>(unsigned_number(d, "a dimension")));
    if (__builtin_mul_overflow(entry.count, entry.shape.back(), &entry.count))
      throw UserError("the number of values overflows");
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(entry.count, *width, &bytes)) throw UserError("the number of bytes overflows");
  const Json& offsets = member(info, "data_offsets", Json::value_t::array);
  if (offsets.size() != 2 || info.size() != 3) throw UserError("it needs exactly dtype, shape and two data_offsets");
  const uint64_t begin = unsigned_number(offsets[0], "an offset"), end = unsigned_number(offsets[1], "an offset");
  if (begin > end || end > buffer.size()) throw UserError(fmt::format("offsets {}..{} leave the file", begin, end));
  if (end - begin != static_cast<uint64_t>(bytes))
    throw UserError(fmt::format("{} bytes of data for {} values of {}", end - begin, entry.count, entry.dtype));
  entry.data = buffer.subspan(begin, end - begin);
  return entry;
}

Metadata read_metadata(const Json& object) {
  Metadata metadata;
  if (!object.is_object()) throw UserError("__metadata__ is no object");
  for (const auto& [key, value] : object.items()) {
    if (!value.is_string()) throw UserError(fmt::format("__metadata__.{} is no string", key));
    metadata[key] = value;
  }
  return metadata;
}

}  // namespace

SafeTensors::SafeTensors(const std::filesystem::path& path)
    : NamedTensors(path, "a safetensors file is expected"), file_(path) {
  const auto bytes = file_.bytes();
  if (bytes.size() < 8) fail("it is too short to be a safetensors file");
  const uint64_t length = little_endian_u64(bytes);
  if (length > max_header) fail(fmt::format("its header is {} bytes long; at most {} are allowed", length, max_header));
  if (length > bytes.size() - 8) fail(fmt::format("its header of {} bytes does not fit in the file", length));
  try {
    read_header(file_.text().substr(8, length), bytes.subspan(8 + length));
  } catch (const UserError& error) {
    fail(error.what());
  }
}

void SafeTensors::read_header(std::string_view header, std::span<const std::byte> buffer) {
  if (!header.starts_with("{")) throw UserError("its header is no JSON object");
  if (const auto at = find_invalid_utf8(header)) throw UserError(fmt::format("invalid UTF-8 at byte {}", 8 + *at));
  Guard guard;
  Json::sax_parse(header, &guard);
  const Json json = Json::parse(header);
  std::vector<Entry> entries;
  for (const auto& [name, info] : json.items()) {
    if (name == "__metadata__") {
      metadata_ = read_metadata(info);
      continue;
    }
    try {
      entries.push_back(read_entry(name, info, buffer));
    } catch (const UserError& error) {
      throw UserError(fmt::format("tensor \"{}\": {}", name, error.what()));
    }
  }
  const auto begin_of = [&](const Entry& e) { return e.data.data() - buffer.data(); };
  std::stable_sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) {
    return std::pair(begin_of(a), a.data.size()) < std::pair(begin_of(b), b.data.size());
  });
  int64_t covered = 0;
  for (const Entry& entry : entries) {
    if (begin_of(entry) != covered)
      throw UserError(
          fmt::format("tensor \"{}\": its data begins at {}, not at {}", entry.name, begin_of(entry), covered));
    covered += static_cast<int64_t>(entry.data.size());
  }
  if (covered != static_cast<int64_t>(buffer.size()))
    throw UserError(fmt::format("its tensors cover {} of {} bytes", covered, buffer.size()));
  for (Entry& entry : entries) add(std::move(entry));
}

void write_safetensors(const std::filesystem::path& path, std::span<const SafeTensor> tensors,
                       const Metadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::vector<std::string_view> parts(2);  // the header's length and the header, then the data
  int64_t offset = 0;
  for (const SafeTensor& t : tensors) {
    const auto width = dtype_bytes(t.dtype);
    check(width.has_value(), "safetensors has no dtype {}", t.dtype);
    check(!header.contains(t.name) && t.name != "__metadata__", "tensor {} is written twice", t.name);
    int64_t bytes = *width;
    for (int64_t d : t.shape) bytes *= d;
    header[t.name] = {{"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {offset, offset + bytes}}};
    parts.emplace_back(static_cast<const char*>(t.data), static_cast<size_t>(bytes));
    offset += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data is aligned
  char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i));
  parts[0] = {length, sizeof length};
  parts[1] = text;
  write_file_atomic(path, parts);
}

}  // namespace mpq
