#include "data/row_keys.h"

#include <algorithm>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/text.h"

namespace mpq {
namespace {

// Numbers by value, names by alphabet.
std::vector<std::string> sorted_labels(const std::vector<Row>& rows) {
  std::set<std::string> unique;
  for (const Row& row : rows) unique.insert(row.label);
  std::vector<std::string> names(unique.begin(), unique.end());
  if (std::all_of(names.begin(), names.end(), [](const auto& name) { return parse_int(name).has_value(); }))
    std::sort(names.begin(), names.end(), [](const auto& a, const auto& b) { return *parse_int(a) < *parse_int(b); });
  return names;
}

std::vector<int32_t> label_ids(const std::vector<Row>& rows, const std::vector<std::string>& names,
                               const std::string& where) {
  std::unordered_map<std::string, int32_t> id_of;
  for (const std::string& name : names) id_of.emplace(name, static_cast<int32_t>(id_of.size()));
  std::vector<int32_t> ids;
  for (const Row& row : rows) {
    const auto found = id_of.find(row.label);
    if (found == id_of.end())
      throw UserError(
          fmt::format("{}, {}: the label \"{}\" is not one of the training split's", where, row.place, row.label),
          join(names, ", "));
    ids.push_back(found->second);
  }
  return ids;
}

}  // namespace

OwnedRowKeys row_keys(const std::vector<Row>& rows, const std::vector<std::string>* label_names,
                      const std::string& where) {
  OwnedRowKeys keys;
  keys.label_names = label_names ? *label_names : sorted_labels(rows);
  keys.labels = label_ids(rows, keys.label_names, where);
  for (const Row& row : rows) {
    keys.texts.push_back(hash64(row.text));
    keys.groups.push_back(row.group.empty() ? keys.texts.back() : hash64(row.group));
  }
  return keys;
}

}  // namespace mpq
