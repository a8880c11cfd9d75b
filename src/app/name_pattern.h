// Options that name parameters or Linears by a shell pattern.
#pragma once
#include <string>
#include <vector>

namespace mpq {

// Numbers of the names that the pattern matches (nn/parameters.h). UserError if there are none: "OPTION: the model has
// no WHAT PATTERN", with the nearest name, or all of them.
std::vector<size_t> names_matching(const std::string& pattern, const std::vector<std::string>& names,
                                   const std::string& option, const std::string& what);

}  // namespace mpq
