#include "base/json_file.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"

namespace mpq {
using Json = nlohmann::ordered_json;

// Printing and copying a value recurse: a hostile depth would exhaust the stack.
static bool refuse_depth(int depth, Json::parse_event_t, Json&) {
  if (depth > 64) throw UserError("nested too deeply", "at most 64 levels");
  return true;
}

JsonFile::JsonFile(std::filesystem::path path) : path_(std::move(path)) {
  const MappedFile file(path_);
  try {
    json_ = Json::parse(file.text(), refuse_depth);
  } catch (const UserError& error) {
    throw UserError(fmt::format("{}: {}", path_.string(), error.what()), error.hint());
  } catch (const Json::exception& error) {
    throw UserError(fmt::format("{}: not JSON ({})", path_.string(), error.what()),
                    "the file may be cut off or damaged");
  }
  if (!json_.is_object())
    throw UserError(fmt::format("{}: a JSON {} stands there", path_.string(), json_.type_name()),
                    "a JSON object is expected");
}

const Json* JsonFile::find(const char* key) const {
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

bool JsonFile::has(const char* key) const { return find(key) != nullptr; }

void JsonFile::fail(const std::string& key, const std::string& found, const std::string& expected) const {
  throw UserError(fmt::format("{}: {} is {}", path_.string(), key, found), "allowed: " + expected);
}

int64_t JsonFile::integer(const char* key, int64_t fallback, int64_t min, int64_t max) const {
  const Json* value = find(key);
  if (!value) return fallback;
  // An unsigned number beyond int64_t would wrap around.
  const bool fits = value->is_number_integer() && !(value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX);
  if (!fits || value->get<int64_t>() < min || value->get<int64_t>() > max)
    fail(key, value->dump(), fmt::format("an integer from {} to {}", min, max));
  return value->get<int64_t>();
}

double JsonFile::real(const char* key, double fallback, double min, double max) const {
  const Json* value = find(key);
  if (!value) return fallback;
  if (!value->is_number() || !(value->get<double>() >= min && value->get<double>() <= max))
    fail(key, value->dump(), fmt::format("a number from {} to {}", min, max));
  return value->get<double>();
}

std::string JsonFile::text(const char* key, const std::string& fallback) const {
  const Json* value = find(key);
  if (value && !value->is_string()) fail(key, value->dump(), "a text");
  return value ? value->get<std::string>() : fallback;
}

bool JsonFile::flag(const char* key, bool fallback) const {
  const Json* value = find(key);
  if (value && !value->is_boolean()) fail(key, value->dump(), "true or false");
  return value ? value->get<bool>() : fallback;
}

std::vector<std::string> JsonFile::texts(const char* key) const {
  const Json* value = find(key);
  if (!value) return {};
  const bool texts =
      value->is_array() && std::all_of(value->begin(), value->end(), [](const Json& v) { return v.is_string(); });
  if (!texts) fail(key, value->dump(), "a list of texts");
  return value->get<std::vector<std::string>>();
}

Json JsonFile::object(const char* key) const {
  const Json* value = find(key);
  if (value && !value->is_object()) fail(key, value->dump(), "an object");
  return value ? *value : Json::object();
}

}  // namespace mpq
