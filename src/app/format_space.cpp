#include "app/format_space.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "nn/model_formats.h"

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

// `none`, and what the specs give to weights.
std::vector<std::string> FormatSpace::table_choices() const {
  std::vector<std::string> all{"none"};
  for (const std::string& spec : choices_.specs)
    if (const std::string format = to_text(parse_linear_spec(spec).w);
        std::find(all.begin(), all.end(), format) == all.end())
      all.push_back(format);
  return all;
}

SearchSpace FormatSpace::parameters() const {
  SearchSpace space;
  if (per_layer_) {
    std::vector<std::string> all = choices_.specs;
    if (std::find(all.begin(), all.end(), "none") == all.end()) all.insert(all.begin(), "none");
    for (const Linear* linear : model_->linears()) space.emplace_back(linear->name, categorical(all));
  } else {
    space.emplace_back("format", categorical(choices_.specs));
  }
  if (embeddings_)
    for (const EmbeddingTable& table : model_->tables()) space.emplace_back(table.name, categorical(table_choices()));
  return space;
}

Candidate FormatSpace::candidate(const FrozenTrial& trial) const {
  Candidate candidate{.model = model_, .formats = {}};
  const auto take = [&](const std::string& parameter, int row) {
    const TrialParameter* p = trial.find(parameter);
    check(p != nullptr, "trial {} has no {}", trial.number, parameter);
    candidate.formats.push_back(parse_row_format(*model_, row, to_text(p->external())));
  };
  for (const Linear* linear : model_->linears()) take(per_layer_ ? linear->name : "format", linear->index);
  if (embeddings_)
    for (const EmbeddingTable& table : model_->tables()) take(table.name, table.index);
  return candidate;
}

Candidate FormatSpace::largest() const {
  const size_t linears = model_->linears().size();
  Candidate candidate{.model = model_, .formats = {}};
  candidate.formats.assign(linears, parse_linear_spec(choices_.specs[0]));
  if (embeddings_)
    for (const EmbeddingTable& table : model_->tables())
      candidate.formats.push_back(parse_row_format(*model_, table.index, table_choices().back()));
  return candidate;
}

}  // namespace mpq
