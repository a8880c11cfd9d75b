// A trial as the storage holds it. Optuna's words: parameters, values, attributes, states.
#pragma once
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "search/distribution.h"

namespace mpq {

enum class TrialState { running, complete, pruned, fail, waiting };
enum class Direction { not_set, minimize, maximize };

std::string_view to_text(TrialState state);                          // RUNNING, COMPLETE, PRUNED, FAIL, WAITING
std::string_view to_text(Direction direction);                       // NOT_SET, MINIMIZE, MAXIMIZE
std::optional<TrialState> parse_trial_state(std::string_view text);  // nothing: no such state
std::optional<Direction> parse_direction(std::string_view text);

struct TrialParameter {
  std::string name;
  std::shared_ptr<const Distribution> distribution;  // shared by all trials of a study
  double value;                                      // internal form
  Choice external() const { return external_value(*distribution, value); }
};

using Attributes = std::map<std::string, std::string>;  // key -> JSON text

// A trial's system attribute with its constraints: a JSON list of numbers, <= 0 where kept.
constexpr const char* kConstraintsAttr = "constraints";

struct FrozenTrial {
  int64_t id = 0;      // the storage's
  int64_t number = 0;  // 0, 1, ... within the study
  TrialState state = TrialState::running;
  std::vector<TrialParameter> params;  // in the order in which they were suggested
  std::vector<double> values;          // one an objective; +-inf is legal; empty if there is none
  std::map<int64_t, double> intermediate_values;
  Attributes user_attrs, system_attrs;
  std::vector<double> constraints;                                 // as the system attributes have them
  std::string started, completed;                                  // UTC, YYYY-MM-DD HH:MM:SS.ffffff, or empty
  double heartbeat_age = std::numeric_limits<double>::infinity();  // seconds; infinite without a heartbeat

  bool finished() const { return state != TrialState::running && state != TrialState::waiting; }
  const TrialParameter* find(std::string_view name) const;
  bool same_params(const FrozenTrial& other) const;  // same names and values, in any order
  double violation() const;                          // sum of the broken constraints; 0 without any, as Optuna 5 has it
  void read_constraints();                           // from the system attributes; UserError if they are not numbers
};

}  // namespace mpq
