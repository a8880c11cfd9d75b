// mpq_reference DIR [--device NAME]: runs every group of reference.h over the folder and fails if a case differs.
#include "reference/reference.h"

#include <fmt/format.h>

#include "base/error.h"

namespace mpq::reference {
namespace {

struct Group {
  Result (*run)(const Setting&);
  bool on_every_device;  // false: nothing in it computes on a device
};
constexpr Group groups[] = {{check_quantizers, true}, {check_modern, true},       {check_layers, true},
                            {check_wordpiece, false}, {check_imdb_tokens, false}, {check_hf_bert, true},
                            {check_tpe_traces, false}};

void print(const Result& result) {
  if (!result.found) return fmt::print("{}: skipped, not in this folder\n", result.group);
  fmt::print("{}: {} cases, {} mismatches\n", result.group, result.cases, result.mismatches);
  for (const std::string& what : result.first) fmt::print("  {}\n", what);
}

int run(const std::filesystem::path& folder, const std::string& device_name) {
  const auto device = open_device(device_name);
  const Setting setting{folder, device_name, *device};
  fmt::print("{}\n", device->describe());
  int64_t cases = 0, mismatches = 0;
  for (const Group& group : groups) {
    if (!setting.on_cpu() && !group.on_every_device) continue;
    const Result result = group.run(setting);
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
    const bool has_device = argc == 4 && std::string(argv[2]) == "--device";
    if (argc != 2 && !has_device) throw mpq::UserError("usage: mpq_reference DIR [--device NAME]");
    return mpq::reference::run(argv[1], has_device ? argv[3] : "cpu");
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 2;
  }
}
