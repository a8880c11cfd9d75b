#include "search/distribution.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace mpq {
namespace {

using nlohmann::json;

template <class... F>
struct Overload : F... {
  using F::operator()...;
};
template <class... F>
Overload(F...) -> Overload<F...>;

// Python's json.dumps: ASCII only.
std::string dump(const json& value) { return value.dump(-1, ' ', true); }

json choice_to_json(const Choice& choice) {
  return std::visit(Overload{[](std::monostate) { return json(); }, [](const auto& v) { return json(v); }}, choice);
}

[[noreturn]] void refuse(std::string_view where, const std::string& what) {
  throw UserError(fmt::format("{}: {}", where, what),
                  "allowed: a categorical with distinct choices, or low <= high with a positive step");
}

int64_t as_int(const json& value, std::string_view where) {
  constexpr uint64_t most = std::numeric_limits<int64_t>::max();
  if (value.is_number_unsigned() && value.get<uint64_t>() > most) refuse(where, "an int beyond 2^63");
  return value.get<int64_t>();
}

Choice choice_from_json(const json& value, std::string_view where) {
  if (value.is_null()) return std::monostate{};
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_integer()) return as_int(value, where);
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  refuse(where, "a choice is neither null, bool, number nor string");
}

void require(bool holds, std::string_view where, std::string_view what) {
  if (!holds) refuse(where, std::string(what));
}

void check_bounds(const CategoricalDistribution& d, std::string_view where) {
  require(!d.choices.empty(), where, "a categorical without choices");
}
void check_bounds(const IntDistribution& d, std::string_view where) {
  constexpr int64_t exact = int64_t{1} << 53;  // the internal form is a double
  require(d.low >= -exact && d.high <= exact, where, "an int bound beyond 2^53");
  require(d.low <= d.high, where, fmt::format("low {} is above high {}", d.low, d.high));
  require(d.step >= 1, where, fmt::format("step {} is not positive", d.step));
  require(!d.log || (d.low >= 1 && d.step == 1), where, "log needs low >= 1 and step 1");
}
void check_bounds(const FloatDistribution& d, std::string_view where) {
  require(std::isfinite(d.low) && std::isfinite(d.high), where, "a bound that is not finite");
  require(d.low <= d.high, where, fmt::format("low {} is above high {}", d.low, d.high));
  require(!d.step || *d.step > 0, where, "step is not positive");
  require(!d.log || (d.low > 0 && !d.step), where, "log needs low > 0 and no step");
}

int64_t get_int(const json& attributes, const char* key, std::string_view where) {
  require(attributes.contains(key) && attributes[key].is_number_integer(), where, fmt::format("no int '{}'", key));
  return as_int(attributes[key], where);
}
double get_float(const json& attributes, const char* key, std::string_view where) {
  require(attributes.contains(key) && attributes[key].is_number(), where, fmt::format("no number '{}'", key));
  return attributes[key].get<double>();
}
bool get_log(const json& attributes, std::string_view where) {
  if (!attributes.contains("log")) return false;
  require(attributes["log"].is_boolean(), where, "'log' is no bool");
  return attributes["log"].get<bool>();
}

Distribution read_categorical(const json& attributes, std::string_view where) {
  require(attributes.contains("choices") && attributes["choices"].is_array(), where, "no list 'choices'");
  CategoricalDistribution d;
  for (const json& choice : attributes["choices"]) d.choices.push_back(choice_from_json(choice, where));
  return d;
}
Distribution read_int(const json& attributes, std::string_view where) {
  IntDistribution d{.low = get_int(attributes, "low", where), .high = get_int(attributes, "high", where)};
  if (attributes.contains("step")) d.step = get_int(attributes, "step", where);
  d.log = get_log(attributes, where);
  return d;
}
Distribution read_float(const json& attributes, std::string_view where) {
  FloatDistribution d{.low = get_float(attributes, "low", where), .high = get_float(attributes, "high", where)};
  if (attributes.contains("step") && !attributes["step"].is_null()) d.step = get_float(attributes, "step", where);
  d.log = get_log(attributes, where);
  return d;
}

// Equal to Python, where 1 == 1.0 == True.
bool python_equal(const Choice& a, const Choice& b) {
  const auto number = [](const Choice& c) -> std::optional<double> {
    if (const auto* v = std::get_if<bool>(&c)) return *v;
    if (const auto* v = std::get_if<int64_t>(&c)) return static_cast<double>(*v);
    if (const auto* v = std::get_if<double>(&c)) return *v;
    return std::nullopt;
  };
  const auto x = number(a), y = number(b);
  return x && y ? *x == *y : a == b;
}

}  // namespace

Distribution categorical(const std::vector<std::string>& choices) {
  return CategoricalDistribution{{choices.begin(), choices.end()}};
}

void validate(const Distribution& distribution, std::string_view where) {
  std::visit([&](const auto& d) { check_bounds(d, where); }, distribution);
  const auto* d = std::get_if<CategoricalDistribution>(&distribution);
  for (size_t i = 0; d && i < d->choices.size(); ++i)
    for (size_t k = 0; k < i; ++k)
      require(!python_equal(d->choices[i], d->choices[k]), where, "choice twice: " + to_text(d->choices[i]));
}

std::string to_json(const Choice& choice) { return dump(choice_to_json(choice)); }

std::string to_text(const Choice& choice) {
  const auto* text = std::get_if<std::string>(&choice);
  return text ? *text : to_json(choice);
}

std::string to_json(const Distribution& distribution) {
  const auto categorical_json = [](const CategoricalDistribution& d) {
    std::vector<std::string> choices;
    for (const Choice& choice : d.choices) choices.push_back(to_json(choice));
    return fmt::format(R"({{"name": "CategoricalDistribution", "attributes": {{"choices": [{}]}}}})",
                       fmt::join(choices, ", "));
  };
  const auto int_json = [](const IntDistribution& d) {
    return fmt::format(
        R"({{"name": "IntDistribution", "attributes": {{"log": {}, "step": {}, "low": {}, "high": {}}}}})", d.log,
        d.step, d.low, d.high);
  };
  const auto float_json = [](const FloatDistribution& d) {
    return fmt::format(
        R"({{"name": "FloatDistribution", "attributes": {{"step": {}, "low": {}, "high": {}, "log": {}}}}})",
        d.step ? dump(*d.step) : "null", dump(d.low), dump(d.high), d.log);
  };
  return std::visit(Overload{categorical_json, int_json, float_json}, distribution);
}

Distribution distribution_from_json(std::string_view text, std::string_view where) {
  const json value = json::parse(text, nullptr, false);
  const bool shaped = value.is_object() && value.contains("name") && value["name"].is_string() &&
                      value.contains("attributes") && value["attributes"].is_object();
  require(shaped, where, "no distribution of Optuna's (name and attributes)");
  const std::string name = value["name"];
  const json& attributes = value["attributes"];
  const auto read = [&]() -> Distribution {
    if (name == "CategoricalDistribution") return read_categorical(attributes, where);
    if (name == "IntDistribution") return read_int(attributes, where);
    if (name == "FloatDistribution") return read_float(attributes, where);
    refuse(where, fmt::format("unknown distribution '{}'", name));
  };
  const Distribution distribution = read();
  std::visit([&](const auto& d) { check_bounds(d, where); }, distribution);
  return distribution;
}

bool is_single(const Distribution& distribution) { return count_values(distribution) == 1; }

bool contains(const Distribution& distribution, double internal) {
  const auto whole = [&](double low, double high) {
    return internal >= low && internal <= high && internal == std::floor(internal);
  };
  return std::visit(
      Overload{[&](const CategoricalDistribution& d) { return whole(0, static_cast<double>(d.choices.size()) - 1); },
               [&](const IntDistribution& d) { return whole(static_cast<double>(d.low), static_cast<double>(d.high)); },
               [&](const FloatDistribution& d) { return internal >= d.low && internal <= d.high; }},
      distribution);
}

Choice external_value(const Distribution& distribution, double internal) {
  check(contains(distribution, internal), "internal value {} is outside its distribution", internal);
  return std::visit(Overload{[&](const CategoricalDistribution& d) { return d.choices[static_cast<size_t>(internal)]; },
                             [&](const IntDistribution&) { return Choice(static_cast<int64_t>(internal)); },
                             [&](const FloatDistribution&) { return Choice(internal); }},
                    distribution);
}

std::optional<int64_t> count_values(const Distribution& distribution) {
  const auto floats = [](const FloatDistribution& d) -> std::optional<int64_t> {
    if (d.low == d.high) return 1;
    if (!d.step) return std::nullopt;
    const double steps = (d.high - d.low) / *d.step;
    if (steps >= 0x1p62) return std::numeric_limits<int64_t>::max();
    return static_cast<int64_t>(steps + 1e-9) + 1;  // 0.1 * 5 need not reach 0.5
  };
  return std::visit(
      Overload{[](const CategoricalDistribution& d) { return std::optional(static_cast<int64_t>(d.choices.size())); },
               [](const IntDistribution& d) { return std::optional((d.high - d.low) / d.step + 1); }, floats},
      distribution);
}

double nth_value(const Distribution& distribution, int64_t i) {
  return std::visit(Overload{[&](const CategoricalDistribution&) { return static_cast<double>(i); },
                             [&](const IntDistribution& d) { return static_cast<double>(d.low + i * d.step); },
                             [&](const FloatDistribution& d) {
                               return std::min(d.high, d.low + static_cast<double>(i) * d.step.value_or(0));
                             }},
                    distribution);
}

}  // namespace mpq
