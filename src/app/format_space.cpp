#include "app/format_space.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace mpq {
namespace {

FormatChoices choices_of(const Family& family) {
  FormatChoices choices{std::string(family.name), {}};
  for (const std::string_view choice : family.choices) choices.specs.emplace_back(choice);
  if (choices.specs.empty()) choices.specs.emplace_back(family.name);
  return choices;
}

}  // namespace

std::vector<FormatChoices> format_choices(const std::string& names) {
  std::vector<FormatChoices> all;
  const auto add = [&](const Family& family) {
    const auto same = [&](const FormatChoices& c) { return c.name == family.name; };
    if (family.name != "none" && std::none_of(all.begin(), all.end(), same)) all.push_back(choices_of(family));
  };
  if (names == "all")
    for (const Family& family : families()) add(family);
  else
    for (const std::string_view name : split(names, ',')) add(find_family(trim(name)));
  return all;
}

FormatChoices lab3_task1() {
  FormatChoices integer{"integer", {}};
  for (const int width : {8, 16, 32})
    for (const int frac : {2, 4, 8}) integer.specs.push_back(fmt::format("integer(width={},frac={})", width, frac));
  return integer;
}

SearchSpace FormatSpace::parameters() const {
  if (!per_layer_) return {{"format", categorical(choices_.specs)}};
  std::vector<std::string> all = choices_.specs;
  if (std::find(all.begin(), all.end(), "none") == all.end()) all.insert(all.begin(), "none");
  SearchSpace space;
  for (const Linear* linear : model_->linears()) space.emplace_back(linear->name, categorical(all));
  return space;
}

Candidate FormatSpace::candidate(const FrozenTrial& trial) const {
  Candidate candidate{.model = model_, .formats = {}};
  for (const Linear* linear : model_->linears()) {
    const TrialParameter* p = trial.find(per_layer_ ? linear->name : "format");
    check(p != nullptr, "trial {} has no format for {}", trial.number, linear->name);
    candidate.formats.push_back(parse_linear_spec(to_text(p->external())));
  }
  return candidate;
}

Candidate FormatSpace::largest() const {
  return {.model = model_,
          .formats = std::vector<LinearSpec>(model_->linears().size(), parse_linear_spec(choices_.specs[0]))};
}

}  // namespace mpq
