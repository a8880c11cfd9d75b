// What a search tries: for each family a define-by-run space whose choices are the texts of Linear specs.
#pragma once
#include <string>
#include <vector>

#include "nn/bert.h"
#include "search/study.h"

namespace mpq {

enum class SearchMode { all_layers, per_layer };

// One study of a search.
struct FamilySpace {
  std::string family;                // also the study's name, after the prefix
  std::vector<std::string> choices;  // spec texts; in per-layer mode `none` comes with them

  // all-layers: one categorical `format`; per-layer: one categorical a Linear, by its dotted name.
  SearchSpace space(const Bert& model, SearchMode mode) const;
};

// "all", or names separated by commas. The float control `none` is always there, first. UserError for unknown names.
std::vector<FamilySpace> family_spaces(const std::string& families);
// A named space: lab3-task1 (integer, width 8 16 32, frac 2 4 8 for x, w and b alike). UserError lists the known ones.
std::vector<FamilySpace> named_space(const std::string& name);

// The spec of every Linear that a trial's parameters stand for.
std::vector<LinearSpec> specs_of(const Bert& model, const FrozenTrial& trial);

// Average over the weights of all Linears, shared exponents and scales counted.
double bits_per_linear_weight(const Bert& model, const std::vector<LinearSpec>& specs);
// The same over all parameters of the model; what is no Linear weight or bias counts 32.
double bits_per_parameter(const Bert& model, const std::vector<LinearSpec>& specs);

}  // namespace mpq
