#include "app/commands.h"

namespace mpq {

int run_info(const Args& args) {
  CommandLine line(
      "info", "mpq info\n\nPrints what this build is and what it found on this machine.\n\nExample: mpq info --json");
  if (!line.parse(args)) return 0;
  print_json({{"version", MPQ_VERSION}});
  return 0;
}

}  // namespace mpq
