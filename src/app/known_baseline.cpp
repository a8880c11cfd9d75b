#include "app/known_baseline.h"

#include <fmt/format.h>

#include "base/json_file.h"
#include "data/cache.h"

namespace mpq {
namespace {

std::optional<std::filesystem::path> file_of(const std::string& splits) {
  return cache_file(fmt::format("baselines/{}.json", splits.substr(0, 32)));
}

nlohmann::ordered_json to_json(const Hits& hits) { return {{"correct", hits.correct}, {"rows", hits.rows}}; }

Hits hits(const JsonFile& json, const char* key) {
  const auto object = json.object(key);
  return {object.value("correct", int64_t{0}), object.value("rows", int64_t{0})};
}

}  // namespace

std::optional<double> Hits::accuracy() const {
  return rows > 0 ? std::optional(static_cast<double>(correct) / static_cast<double>(rows)) : std::nullopt;
}

void remember_baseline(const std::string& splits, const KnownBaseline& b) {
  const nlohmann::ordered_json json{
      {"test", to_json(b.test)}, {"valid", to_json(b.valid)}, {"features", b.features}, {"options", b.options}};
  keep_in_cache(file_of(splits), json.dump(2) + "\n");
}

std::optional<KnownBaseline> known_baseline(const std::string& splits) {
  const auto path = file_of(splits);
  if (!path || !std::filesystem::exists(*path)) return std::nullopt;
  try {
    const JsonFile json(*path);
    return KnownBaseline{hits(json, "test"), hits(json, "valid"), json.integer("features", 0, 0, INT64_MAX),
                         json.text("options", "")};
  } catch (const std::exception&) {
    return std::nullopt;  // a damaged cache is no reason to fail
  }
}

std::string baseline_line(const std::string& splits) {
  const auto known = known_baseline(splits);
  if (!known) return "n-gram baseline: not measured on these rows; mpq baseline with the same data options does";
  std::string accuracies;
  if (const auto valid = known->valid.accuracy()) accuracies += fmt::format(" validation {:.4f}", *valid);
  if (const auto test = known->test.accuracy()) accuracies += fmt::format(" test {:.4f}", *test);
  return fmt::format("n-gram baseline:{} ({} features, {})", accuracies, known->features, known->options);
}

}  // namespace mpq
