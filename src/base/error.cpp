#include "base/error.h"

namespace mpq {

void fail_check(const std::string& message, Place where) {
  throw InternalError(fmt::format("{} ({}:{}, {})", message, where.file, where.line, where.function));
}

}  // namespace mpq
