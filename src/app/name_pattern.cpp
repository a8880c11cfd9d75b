#include "app/name_pattern.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/nearest.h"
#include "base/text.h"
#include "nn/parameters.h"

namespace mpq {

std::vector<size_t> names_matching(const std::string& pattern, const std::vector<std::string>& names,
                                   const std::string& option, const std::string& what) {
  std::vector<size_t> found;
  for (size_t i = 0; i < names.size(); ++i)
    if (matches(pattern, names[i])) found.push_back(i);
  if (!found.empty()) return found;
  const std::string near = nearest(pattern, names);
  throw UserError(
      fmt::format("{}: the model has no {} {}", option, what, pattern),
      near.empty() ? fmt::format("its {}s: {}", what, join(names, ", ")) : fmt::format("did you mean {}?", near));
}

}  // namespace mpq
