// LinearSpec: the formats of one Linear, y = xq wq^T + bq (y quantized too where the labs' integer Linear does so).
// Text: FAMILY(key=value,...), or spelled out x=FORMAT;w=FORMAT;b=FORMAT[;y=FORMAT].
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quant/spec.h"

namespace mpq {

struct LinearSpec {
  QuantSpec x, w, b, y;
  bool operator==(const LinearSpec&) const = default;
};

LinearSpec parse_linear_spec(std::string_view text);  // UserError

// The text of every operand's format, not looked at yet.
struct LinearText {
  std::string x, w, b, y = "none";
};
LinearText spell_out(std::string_view text);  // UserError

// Canonical: as a family where there is one.
std::string to_text(const LinearSpec& spec);
double bits_per_weight(const LinearSpec& spec, int64_t rows, int64_t cols);

// A named template of formats for x, w and b.
struct Family {
  std::string_view name, summary;
  std::string linear;                         // spelled out, % where the keys go
  std::span<const std::string_view> choices;  // what a search tries; the first is a good default for every layer
};
std::span<const Family> families();
const Family& find_family(std::string_view name);  // UserError lists the known ones

// Every format's samples and what families choose, each once: for tests and measurements.
std::vector<QuantSpec> known_formats();

}  // namespace mpq
