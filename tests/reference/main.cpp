// mpq_reference DIR: runs every group of reference.h over the folder and fails if a case differs.
#include "reference/reference.h"

#include <fmt/format.h>

#include "base/error.h"

namespace mpq::reference {
namespace {

constexpr Result (*groups[])(const std::filesystem::path&) = {
    check_quantizers, check_modern, check_layers, check_wordpiece, check_imdb_tokens, check_hf_bert, check_tpe_traces};

void print(const Result& result) {
  if (!result.found) return fmt::print("{}: skipped, not in this folder\n", result.group);
  fmt::print("{}: {} cases, {} mismatches\n", result.group, result.cases, result.mismatches);
  for (const std::string& what : result.first) fmt::print("  {}\n", what);
}

int run(const std::filesystem::path& folder) {
  int64_t cases = 0, mismatches = 0;
  for (const auto group : groups) {
    const Result result = group(folder);
    print(result);
    std::fflush(stdout);
    cases += result.cases;
    mismatches += result.mismatches;
  }
  fmt::print("{} cases, {} mismatches in all\n", cases, mismatches);
  if (cases == 0) throw UserError(fmt::format("{} holds no reference case", folder.string()));
  return mismatches == 0 ? 0 : 1;
}

}  // namespace
}  // namespace mpq::reference

int main(int argc, char** argv) {
  try {
    if (argc != 2) throw mpq::UserError("one argument is needed", "mpq_reference DIR");
    return mpq::reference::run(argv[1]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 2;
  }
}
