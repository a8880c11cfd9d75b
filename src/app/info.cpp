// What this build is and what it found on this machine.
#include <archive.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <boost/version.hpp>
#include <cstdlib>
#include <fstream>

#include "app/commands.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/text.h"

extern "C" const char* openblas_get_config();

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

struct Variable {
  const char* name;
  const char* meaning;
};
constexpr Variable variables[] = {
    {"MPQ_LOG", "messages: trace, debug, info, warn (default), error, off"},
    {"MPQ_REQUIRE", "tests: a device that must be there (cuda), else its tests fail instead of being skipped"},
    {"XDG_CACHE_HOME", "where caches live (default ~/.cache)"},
};

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return std::string(trim(std::string_view(line).substr(line.find(':') + 1)));
  return "unknown";
}

// The instruction set that the CPU kernels run on here.
const char* simd() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return "avx512";
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "avx2" : "none";
}

Json build() {
  return {{"version", MPQ_VERSION},
          {"compiler", "g++ " __VERSION__},
#ifdef MPQ_HAS_CUDA
          {"cuda", true}
#else
          {"cuda", false}
#endif
  };
}

Json machine() {
  utsname system{};
  ::uname(&system);
  const uint64_t memory =
      static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGE_SIZE));
  return {{"system", fmt::format("{} {} {}", system.sysname, system.release, system.machine)},
          {"processor", processor()},
          {"threads", threads()},
          {"simd", simd()},
          {"memory", human_bytes(memory)}};
}

Json libraries() {
  return {{"Boost", fmt::format("{}.{}.{}", BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000, BOOST_VERSION % 100)},
          {"fmt", fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100)},
          {"libarchive", archive_version_string()},
          {"nlohmann-json", fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR,
                                        NLOHMANN_JSON_VERSION_PATCH)},
          {"OpenBLAS", std::string(trim(openblas_get_config()))},
          {"sentencepiece", MPQ_SENTENCEPIECE_VERSION},
          {"SQLite", sqlite3_libversion()}};
}

Json environment() {
  Json set = Json::object();
  for (const Variable& variable : variables) {
    const char* value = std::getenv(variable.name);
    set[variable.name] = value ? Json(value) : Json();
  }
  return set;
}

void print_section(const char* title, const Json& section) {
  fmt::print("{}\n", title);
  for (const auto& [key, value] : section.items())
    fmt::print("  {:<16} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
}

void print_environment(const Json& set) {
  fmt::print("environment\n");
  for (const Variable& variable : variables) {
    const Json& value = set[variable.name];
    fmt::print("  {:<16} {}{}\n", variable.name, variable.meaning,
               value.is_null() ? "" : fmt::format("; now {}", value.get<std::string>()));
  }
}

}  // namespace

int run_info(const Args& args) {
  CommandLine line(
      "info", "mpq info\n\nPrints what this build is and what it found on this machine.\n\nExample: mpq info --json");
  if (!line.parse(args)) return 0;
  line.announce();
  Json result = build();
  result["machine"] = machine();
  result["libraries"] = libraries();
  result["cache"] = cache_folder().string();
  result["environment"] = environment();
  if (line.json()) {
    print_json(result);
    return 0;
  }
  print_section("build", build());
  print_section("machine", result["machine"]);
  print_section("libraries", result["libraries"]);
  fmt::print("cache\n  {}\n", result["cache"].get<std::string>());
  print_environment(result["environment"]);
  return 0;
}

}  // namespace mpq
