// What can be written where a format or a family is asked for.
#include <fmt/format.h>

#include "app/commands.h"
#include "base/text.h"
#include "quant/linear_spec.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

constexpr int64_t example_rows = 512, example_cols = 512;  // the weight whose bits per value are shown

Json example_json(std::string_view text) {
  const QuantSpec spec = parse_format(text);
  return {{"format", text},
          {"bits_per_value", bits_per_value(spec, example_rows, example_cols)},
          {"reach", to_text(reach(spec, Role::activation))}};
}

Json format_json(const FormatInfo& format) {
  Json keys = Json::array(), examples = Json::array();
  for (const KeyInfo& k : format.keys)
    keys.push_back(
        {{"key", k.name}, {"allowed", k.allowed}, {"default", k.fallback.empty() ? Json() : Json(k.fallback)}});
  for (std::string_view sample : format.samples) examples.push_back(example_json(sample));
  return {{"name", format.name}, {"summary", format.summary}, {"keys", keys}, {"examples", examples}};
}

Json family_json(const Family& family) {
  return {{"name", family.name}, {"summary", family.summary}, {"linear", family.linear}, {"choices", family.choices}};
}

void print_format(const Json& format) {
  fmt::print("\n{}: {}\n", format["name"].get<std::string>(), format["summary"].get<std::string>());
  for (const Json& k : format["keys"])
    fmt::print("    {:<11} {}{}\n", k["key"].get<std::string>(), k["allowed"].get<std::string>(),
               k["default"].is_null() ? "" : fmt::format("; default {}", k["default"].get<std::string>()));
  for (const Json& e : format["examples"])
    fmt::print("  {:<62} {:>6.4g} bits a value, reach {}\n", e["format"].get<std::string>(),
               e["bits_per_value"].get<double>(), e["reach"].get<std::string>());
}

void print_family(const Json& family) {
  fmt::print("\n{}: {}\n    {}\n  a search tries\n", family["name"].get<std::string>(),
             family["summary"].get<std::string>(), family["linear"].get<std::string>());
  for (const Json& choice : family["choices"]) fmt::print("    {}\n", choice.get<std::string>());
}

}  // namespace

int run_formats(const Args& args) {
  CommandLine line(
      "formats",
      "mpq formats\n\nLists the formats (what one tensor gets) and the families (what a Linear's x, w and b "
      "get), with their keys.\n\nExample: mpq formats --json");
  if (!line.parse(args)) return 0;
  line.announce();
  Json formats = Json::array(), families_json = Json::array();
  for (const FormatInfo& format : format_list()) formats.push_back(format_json(format));
  for (const Family& family : families()) families_json.push_back(family_json(family));
  if (line.json()) {
    print_json({{"formats", formats}, {"families", families_json}});
    return 0;
  }
  fmt::print(
      "FORMATS: name(key=value,...); a key with a default may be left out. Bits a value are those of a {} x {} "
      "weight,\n"
      "shared exponents counted. Reach: how far the statistics behind one activation go (element, row, sequence).\n",
      example_rows, example_cols);
  for (const Json& format : formats) print_format(format);
  fmt::print(
      "\nFAMILIES: name(key=value,...), % standing for the keys; or spelled out "
      "x=FORMAT;w=FORMAT;b=FORMAT[;y=FORMAT].\n");
  for (const Json& family : families_json) print_family(family);
  return 0;
}

}  // namespace mpq
