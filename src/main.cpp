// argv -> one function per subcommand, and the only place where errors are caught.
#include <fmt/format.h>

#include <boost/program_options/errors.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>

#include "app/commands.h"
#include "base/error.h"
#include "base/log.h"
#include "base/nearest.h"
#include "base/stop.h"

namespace mpq {
namespace {

constexpr Command commands[] = {
    {"pretrain", "pretrain an encoder on texts without labels", run_pretrain},
    {"train", "train a classifier, in float or quantization-aware", run_train},
    {"eval", "accuracy of a checkpoint, in any number format", run_eval},
    {"predict", "labels and probabilities of texts, one a line", run_predict},
    {"fill", "what a masked language model puts in the place of [MASK]", run_fill},
    {"baseline", "a linear model on n-grams: what to beat, and a teacher", run_baseline},
    {"lora", "low-rank adapters of several ranks and seeds, trained side by side", run_lora},
    {"merge", "fold low-rank adapters into their base", run_merge},
    {"search", "the best low-bit formats: one study a family, beside the float control", run_search},
    {"sweep", "accuracy against width, post-training and with training", run_sweep},
    {"prune", "zeros in weights and activations: prune, fine-tune, or sweep", run_prune},
    {"plot", "a figure of any table: means with intervals", run_plot},
    {"study", "what a storage holds: studies, trials, winners, TSV", run_study},
    {"formats", "the number formats and families", run_formats},
    {"inspect", "a model's operations: shapes, parameters, multiply-adds, bytes", run_inspect},
    {"quantize", "quantize the tensors of a safetensors file", run_quantize},
    {"linear", "one quantized Linear on given tensors, forward and backward", run_linear},
    {"tokenize", "texts to token ids", run_tokenize},
    {"bench", "how fast it is here, and the share of what the machine can do", run_bench},
    {"info", "build, devices, threads, SIMD, libraries", run_info},
};

int print_usage() {
  fmt::print("mpq {}: the best low-bit version of a model, fast\n\nusage: mpq COMMAND [options]\n\n", MPQ_VERSION);
  for (const Command& command : commands) fmt::print("  {:<10} {}\n", command.name, command.summary);
  fmt::print("\nmpq COMMAND -h explains a command, with an example. First steps: mpq search --family all\n");
  return 0;
}

const Command& find_command(const std::string& name) {
  std::vector<std::string> names{"help"};
  for (const Command& command : commands) {
    if (command.name == name) return command;
    names.push_back(command.name);
  }
  const std::string near = nearest(name, names);
  throw UserError(fmt::format("unknown command {}", name),
                  near.empty() ? "mpq -h lists the commands" : fmt::format("did you mean mpq {}?", near));
}

int dispatch(const Args& args) {
  log();  // refuses a wrong MPQ_LOG now rather than at the first message, hours later
  const std::string name = args.empty() ? "-h" : args[0];
  if (name == "--version") return fmt::print("mpq {}\n", MPQ_VERSION), 0;
  if (name == "-h" || name == "--help" || (name == "help" && args.size() == 1)) return print_usage();
  if (name == "help") return find_command(args[1]).run({"-h"});
  return find_command(name).run(Args(args.begin() + 1, args.end()));
}

void flush_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout))
    throw UserError(fmt::format("cannot write standard output: {}", std::strerror(errno)));
}

int report_user_error(const std::string& what, const std::string& hint) {
  fmt::print(stderr, "error: {}\n", what);
  if (!hint.empty()) fmt::print(stderr, "hint: {}\n", hint);
  return 2;
}

int report_internal_error(const char* what) {
  fmt::print(stderr, "internal error: {}\nThis is a defect of mpq {}, not of your input.\n", what, MPQ_VERSION);
  return 3;
}

}  // namespace
}  // namespace mpq

int main(int argc, char** argv) {
  using namespace mpq;
  std::signal(SIGPIPE, SIG_DFL);  // `mpq formats | head` ends quietly
  install_stop_signals();
  try {
    const int code = dispatch(Args(argv + 1, argv + argc));
    flush_output();
    return code;
  } catch (const UserError& error) {
    return report_user_error(error.what(), error.hint());
  } catch (const boost::program_options::error& error) {
    return report_user_error(error.what(), fmt::format("mpq {} -h lists the options", argv[1]));
  } catch (const Stopped& stopped) {
    fmt::print(stderr, "stopped: {}\n", stopped.what());
    return stopped_by_signal() ? 130 : 0;
  } catch (const std::bad_alloc&) {
    return report_user_error("out of memory", "a smaller --batch, --max-tokens, --parallel or --model needs less");
  } catch (const std::exception& error) {
    return report_internal_error(error.what());
  }
}
