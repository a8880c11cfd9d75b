#include "data/row.h"

#include "base/error.h"
#include "base/text.h"

namespace mpq {

void check_text(const std::string& text, const std::string& where) {
  if (const auto bad = find_invalid_utf8(text))
    throw UserError(fmt::format("{}: byte {} of the text is not valid UTF-8", where, *bad + 1), "convert it to UTF-8");
  if (trim(text).empty()) throw UserError(fmt::format("{}: the text is empty", where), "every row needs a text");
}

}  // namespace mpq
