#include "search/frozen_trial.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace mpq {
namespace {

constexpr std::array<std::string_view, 5> kStates = {"RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING"};
constexpr std::array<std::string_view, 3> kDirections = {"NOT_SET", "MINIMIZE", "MAXIMIZE"};

template <class Enum, size_t N>
std::optional<Enum> parse(const std::array<std::string_view, N>& names, std::string_view text) {
  const auto at = std::find(names.begin(), names.end(), text);
  if (at == names.end()) return std::nullopt;
  return static_cast<Enum>(at - names.begin());
}

}  // namespace

std::string_view to_text(TrialState state) { return kStates[static_cast<size_t>(state)]; }
std::string_view to_text(Direction direction) { return kDirections[static_cast<size_t>(direction)]; }
std::optional<TrialState> parse_trial_state(std::string_view text) { return parse<TrialState>(kStates, text); }
std::optional<Direction> parse_direction(std::string_view text) { return parse<Direction>(kDirections, text); }

const TrialParameter* FrozenTrial::find(std::string_view name) const {
  for (const TrialParameter& p : params)
    if (p.name == name) return &p;
  return nullptr;
}

bool FrozenTrial::same_params(const FrozenTrial& other) const {
  return params.size() == other.params.size() &&
         std::all_of(params.begin(), params.end(), [&](const TrialParameter& p) {
           const TrialParameter* q = other.find(p.name);
           return q && q->value == p.value;
         });
}

double FrozenTrial::violation() const {
  double sum = 0;
  for (const double c : constraints) sum += std::max(0.0, c);
  return sum;
}

// Optuna up to 4 keeps one list, Optuna 5 also one number a name ("constraints:NAME").
void FrozenTrial::read_constraints() {
  constraints.clear();
  const std::string prefix = std::string(kConstraintsAttr) + ":";
  for (const auto& [key, text] : system_attrs) {
    if (key != kConstraintsAttr && !key.starts_with(prefix)) continue;
    const auto value = nlohmann::json::parse(text, nullptr, false);
    const auto list = value.is_array() ? value : nlohmann::json::array({value});
    const auto is_number = [](const auto& v) { return v.is_number(); };
    if (!std::all_of(list.begin(), list.end(), is_number))
      throw UserError(fmt::format("trial {}: its constraints are not numbers", number),
                      "the study was damaged, or written by another program");
    for (const auto& v : list) constraints.push_back(v.get<double>());
  }
}

}  // namespace mpq
