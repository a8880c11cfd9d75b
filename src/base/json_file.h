// A JSON object in a file from outside: every member is checked when it is read, and errors name file and key.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace mpq {

class JsonFile {
 public:
  // UserError if the file cannot be read or is no JSON object.
  explicit JsonFile(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  bool has(const char* key) const;  // null counts as absent

  // The member, or `fallback` where it is absent. UserError for another type, or a number outside min ... max.
  int64_t integer(const char* key, int64_t fallback, int64_t min, int64_t max) const;
  double real(const char* key, double fallback, double min, double max) const;
  std::string text(const char* key, const std::string& fallback) const;
  bool flag(const char* key, bool fallback) const;
  nlohmann::ordered_json object(const char* key) const;   // {} where it is absent
  std::vector<std::string> texts(const char* key) const;  // likewise; of a list

  // "FILE: KEY is FOUND", hint "allowed: EXPECTED".
  [[noreturn]] void fail(const std::string& key, const std::string& found, const std::string& expected) const;

 private:
  const nlohmann::ordered_json* find(const char* key) const;

  std::filesystem::path path_;
  nlohmann::ordered_json json_;
};

}  // namespace mpq
