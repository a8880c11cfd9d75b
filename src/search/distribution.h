// What a parameter may be, as Optuna defines it: categorical, int or float. A value is stored in "internal" form, one
// double: the index of a choice, the int, or the float itself (log parameters are stored un-logged).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mpq {

// One choice of a categorical: null, bool, int, float or string, as in JSON.
using Choice = std::variant<std::monostate, bool, int64_t, double, std::string>;

struct CategoricalDistribution {
  std::vector<Choice> choices;
  bool operator==(const CategoricalDistribution&) const = default;
};

struct IntDistribution {  // low, low + step, ... high
  int64_t low, high, step = 1;
  bool log = false;
  bool operator==(const IntDistribution&) const = default;
};

struct FloatDistribution {  // [low, high], or low, low + step, ... high
  double low, high;
  std::optional<double> step;
  bool log = false;
  bool operator==(const FloatDistribution&) const = default;
};

using Distribution = std::variant<CategoricalDistribution, IntDistribution, FloatDistribution>;

Distribution categorical(const std::vector<std::string>& choices);

// UserError that names `where` if the bounds, step or choices make no sense. Choices that Python takes for equal
// (1, 1.0, true) may not meet: Optuna would find the first of them only.
void validate(const Distribution& distribution, std::string_view where);

// Optuna's distribution_json, character for character as its json.dumps writes it. Reading throws a UserError that
// names `where`; it checks structure and bounds.
std::string to_json(const Distribution& distribution);
Distribution distribution_from_json(std::string_view text, std::string_view where);

std::string to_json(const Choice& choice);
std::string to_text(const Choice& choice);  // a string as it is, anything else as JSON

bool is_single(const Distribution& distribution);                  // only one value is possible
bool contains(const Distribution& distribution, double internal);  // is it a legal internal value?
Choice external_value(const Distribution& distribution, double internal);

// How many values there are, if they can be listed (saturates at 2^63 - 1), and the i-th of them in internal form.
std::optional<int64_t> count_values(const Distribution& distribution);
double nth_value(const Distribution& distribution, int64_t i);

}  // namespace mpq
