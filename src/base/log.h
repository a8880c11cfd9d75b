// Messages for people, on standard error. MPQ_LOG = trace, debug, info, warn (default), error or off chooses the level.
#pragma once
#include <spdlog/spdlog.h>

namespace mpq {

// log().warn("cannot draw {}: no gnuplot", name). UserError on the first call if MPQ_LOG names no level.
spdlog::logger& log();

}  // namespace mpq
