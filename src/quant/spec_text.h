// name(keys), the shape that the texts of formats and families share.
#pragma once
#include <string_view>

namespace mpq {

struct Call {
  std::string_view name, keys;  // trimmed; keys is empty for "name" and "name()"
};
// UserError if brackets do not match.
Call parse_call(std::string_view text);

}  // namespace mpq
