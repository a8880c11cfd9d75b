#include "base/error.h"

namespace mpq {

void fail_check(const std::string& message, std::source_location where) {
  throw InternalError(fmt::format("{} ({}:{}, {})", message, where.file_name(), where.line(), where.function_name()));
}

}  // namespace mpq
