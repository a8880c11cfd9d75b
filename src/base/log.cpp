#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <cstdlib>
#include <string>

#include "base/error.h"

namespace mpq {
namespace {

spdlog::level::level_enum level_from_environment() {
  const char* text = std::getenv("MPQ_LOG");
  if (!text || !*text) return spdlog::level::warn;
  const auto level = spdlog::level::from_str(text);  // "off" for any word it does not know
  if (level == spdlog::level::off && std::string(text) != "off")
    throw UserError(fmt::format("MPQ_LOG={}: no such level", text),
                    "MPQ_LOG takes trace, debug, info, warn, error, off");
  return level;
}

spdlog::logger make_logger() {
  spdlog::logger logger("mpq", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger.set_pattern("%^%l%$: %v");
  logger.set_level(level_from_environment());
  return logger;
}

}  // namespace

spdlog::logger& log() {
  static spdlog::logger logger = make_logger();
  return logger;
}

}  // namespace mpq
