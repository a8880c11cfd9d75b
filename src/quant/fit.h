// Formats whose scale follows from the values they are to hold. In a text the scale key (frac of integer, bias of the
// minifloats and of log) may be `auto`, and frac also `half`, half of the width: integer(width=4,frac=auto).
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "quant/linear_spec.h"

namespace mpq {

struct OpenFormat {
  QuantSpec spec;
  bool open = false;  // the scale of `spec` says nothing yet
};
OpenFormat parse_open_format(std::string_view text);  // UserError, as parse_format

struct OpenLinear {
  OpenFormat x, w, b;
  QuantSpec y;

  bool open() const { return x.open || w.open || b.open; }
  LinearSpec closed() const;  // check: nothing is open
};
OpenLinear parse_open_linear(std::string_view text);  // UserError
OpenLinear known(const LinearSpec& spec);             // nothing open

// max: the smallest range that holds every |value|. mse: of that and all smaller ranges the one of the least squared
// error, the wider of equals. (A still wider one is coarser everywhere; but minifloat_denorm, which has no powers of
// two, may round some values better there.)
enum class FitRule { max, mse };
FitRule parse_fit_rule(const std::string& text);  // UserError

// `spec` with the scale that suits these finite values, by the rule. Zeros alone say nothing: they count as +-1.
QuantSpec fit(const QuantSpec& spec, std::span<const float> values, FitRule rule);

}  // namespace mpq
