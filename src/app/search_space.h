// What a search tries. A study of it has a space: parameters, and the model that a trial's parameters stand for.
// Another space is a file with a class, and a line in search_space.cpp.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/search_options.h"
#include "nn/pruning.h"
#include "search/study.h"

namespace mpq {

// What one trial trains.
struct Candidate {
  std::shared_ptr<const Bert> model;
  std::vector<LinearSpec> formats;  // nn/model_formats.h
  Pruning pruning = {};
  // Where set, the model is trained in float first; then it is pruned, takes its formats, and is trained for so many
  // epochs more.
  std::optional<double> epochs_after = {};
};

// What a candidate measures before it is trained.
struct ModelSize {
  double bits_per_weight = 0;     // of all Linears, shared exponents and scales counted
  double bits_per_parameter = 0;  // what is no Linear's and no embedding table counts 32
  int64_t parameters = 0;
  int64_t multiply_adds = 0;  // of one sequence of `tokens` tokens
  double megabytes() const { return bits_per_parameter * static_cast<double>(parameters) / 8e6; }
};
ModelSize size_of(const Candidate& candidate, int tokens);
double bits_per_linear_weight(const Bert& model, const std::vector<LinearSpec>& specs);
double bits_per_parameter(const Bert& model, const std::vector<LinearSpec>& specs);

// The space of one study.
class TrialSpace {
 public:
  virtual ~TrialSpace() = default;
  virtual SearchSpace parameters() const = 0;
  virtual FurtherParameters further() const { return {}; }
  virtual Candidate candidate(const FrozenTrial& trial) const = 0;
  virtual Candidate largest() const = 0;  // the one that takes the most memory
  // What decides a trial's result beside its parameters and the search's recipe, or nothing.
  virtual std::string recipe() const { return {}; }
};

struct PlannedStudy {
  std::string name;  // after the prefix: a family, nas
  std::string sampler;
  std::unique_ptr<TrialSpace> space;
  bool is_control = false;  // one trial that the others are compared with, and that has no budget to keep
};
// The studies of a search, the control first, and how they are presented.
struct SearchPlan {
  std::string subject = "family";  // what a row of the table is
  std::string control = "float32 (control)";
  bool architectures = false;  // candidates differ in their model, and not in their formats only
  std::vector<PlannedStudy> studies;
};
// What the options ask for: every space with every sampler. `base` is the model of --model or --init. UserError: an
// unknown family, space or sampler, or choices that make no model.
SearchPlan plan_search(const SearchOptions& options, const std::shared_ptr<const Bert>& base);

}  // namespace mpq
