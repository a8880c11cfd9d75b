// mpq bench startup: what a user waits for before anything happens.
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include "app/bench.h"
#include "base/error.h"
#include "data/dataset.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

// Runs this program once, its standard output thrown away.
void run_formats_command() {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  std::string program = "mpq", command = "formats";
  char* const arguments[] = {program.data(), command.data(), nullptr};
  pid_t child = 0;
  int status = -1;
  const int error = ::posix_spawn(&child, "/proc/self/exe", &files, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0 || ::waitpid(child, &status, 0) != child || status != 0)
    throw UserError("mpq formats could not be started from mpq bench", "run mpq formats by hand: it says why");
}

}  // namespace

BenchTables bench_startup(const BenchContext& context) {
  BenchTable table{"startup", "process start to end; the token cache is opened once before, so that it is there"};
  const auto add = [&](const std::string& what, const Timing& t) {
    table.rows.push_back({{"what", what}, {"ms", t.median * 1e3}, {"best_ms", t.best * 1e3}});
  };
  add("mpq formats", time_calls(2 * context.budget_s, run_formats_command));
  if (!context.data.empty()) {
    const DataOptions options{.data = context.data, .tokenizer = context.tokenizer};
    add("open the token cache of " + context.data, time_calls(context.budget_s, [&] { load_dataset(options); }));
  }
  return {table};
}

}  // namespace mpq
