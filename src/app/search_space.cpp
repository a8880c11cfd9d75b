#include "app/search_space.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace mpq {
namespace {

FamilySpace space_of(const Family& family) {
  FamilySpace space{std::string(family.name), {}};
  for (const std::string_view choice : family.choices) space.choices.emplace_back(choice);
  if (space.choices.empty()) space.choices.emplace_back(family.name);
  return space;
}

}  // namespace

SearchSpace FamilySpace::space(const Bert& model, SearchMode mode) const {
  if (mode == SearchMode::all_layers || family == "none") return {{"format", categorical(choices)}};
  std::vector<std::string> all = choices;
  if (std::find(all.begin(), all.end(), "none") == all.end()) all.insert(all.begin(), "none");
  SearchSpace space;
  for (const Linear* linear : model.linears()) space.emplace_back(linear->name, categorical(all));
  return space;
}

std::vector<FamilySpace> family_spaces(const std::string& names) {
  std::vector<FamilySpace> spaces{space_of(find_family("none"))};
  const auto add = [&](const Family& family) {
    const auto same = [&](const FamilySpace& s) { return s.family == family.name; };
    if (std::none_of(spaces.begin(), spaces.end(), same)) spaces.push_back(space_of(family));
  };
  if (names == "all")
    for (const Family& family : families()) add(family);
  else
    for (const std::string_view name : split(names, ',')) add(find_family(trim(name)));
  return spaces;
}

std::vector<FamilySpace> named_space(const std::string& name) {
  if (name != "lab3-task1") throw UserError(fmt::format("--space {}: no such space", name), "allowed: lab3-task1");
  FamilySpace integer{"integer", {}};
  for (const int width : {8, 16, 32})
    for (const int frac : {2, 4, 8}) integer.choices.push_back(fmt::format("integer(width={},frac={})", width, frac));
  return {space_of(find_family("none")), integer};
}

std::vector<LinearSpec> specs_of(const Bert& model, const FrozenTrial& trial) {
  const TrialParameter* all = trial.find("format");
  std::vector<LinearSpec> specs;
  for (const Linear* linear : model.linears()) {
    const TrialParameter* p = all ? all : trial.find(linear->name);
    check(p != nullptr, "trial {} has no format for {}", trial.number, linear->name);
    specs.push_back(parse_linear_spec(to_text(p->external())));
  }
  return specs;
}

double bits_per_linear_weight(const Bert& model, const std::vector<LinearSpec>& specs) {
  double bits = 0, weights = 0;
  for (const Linear* linear : model.linears()) {
    const Shape& s = linear->weight->shape;
    bits += bits_per_weight(specs[linear->index], s[0], s[1]) * static_cast<double>(s.size());
    weights += static_cast<double>(s.size());
  }
  return bits / weights;
}

double bits_per_parameter(const Bert& model, const std::vector<LinearSpec>& specs) {
  const double count = static_cast<double>(model.parameters().count());
  double bits = 32 * count;
  for (const Linear* linear : model.linears()) {
    const LinearSpec& spec = specs[linear->index];
    const Shape &w = linear->weight->shape, &b = linear->bias->shape;
    bits += (bits_per_weight(spec, w[0], w[1]) - 32) * static_cast<double>(w.size());
    bits += (bits_per_value(spec.b, 1, b[0]) - 32) * static_cast<double>(b.size());
  }
  return bits / count;
}

}  // namespace mpq
