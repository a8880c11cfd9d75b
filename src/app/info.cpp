// What this build is and what it found on this machine.
#include <archive.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <utf8proc.h>

#include <boost/version.hpp>
#include <cstdlib>
#include <fstream>

#include "app/commands.h"
#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/simd.h"
#include "base/text.h"
#include "tensor/cublaslt.h"
#include "tensor/device.h"

extern "C" const char* openblas_get_config();

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

struct Variable {
  const char* name;
  const char* meaning;
};
constexpr Variable variables[] = {
    {"MPQ_CUBLASLT", "products of wide Linears in bf16: off, or the file of a libcublasLt.so (default: the newest)"},
    {"MPQ_IMDB", "for --data imdb: where aclImdb/ or aclImdb_v1.tar.gz is (default: what data/fetch_imdb.sh fetched)"},
    {"MPQ_LOG", "messages: trace, debug, info, warn (default), error, off"},
    {"MPQ_REQUIRE", "tests: a device that must be there (cuda), else its tests fail instead of being skipped"},
    {"MPQ_SIMD", "the instruction set of the CPU kernels: avx2 or avx512 (default: the widest)"},
    {"MPQ_VOCAB", "for --data imdb: the vocabulary (default: the fetched one, else sentencepieces are trained)"},
    {"XDG_CACHE_HOME", "where caches live (default ~/.cache)"},
};

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return std::string(trim(std::string_view(line).substr(line.find(':') + 1)));
  return "unknown";
}

// What open_device says about a device, or why it cannot be used.
std::string describe(const std::string& device) {
  try {
    return open_device(device)->describe();
  } catch (const UserError& error) {
    return fmt::format("none ({})", error.what());
  }
}

// Every GPU, or why there is none.
std::string describe_gpus() {
  std::string all = describe("cuda");
  try {
    for (int n = 1;; ++n) all += "; " + open_device(fmt::format("cuda:{}", n))->describe();
  } catch (const UserError&) {
    return all;
  }
}

Json build() { return {{"version", MPQ_VERSION}, {"compiler", "g++ " __VERSION__}}; }

Json machine() {
  utsname system{};
  ::uname(&system);
  const uint64_t memory =
      static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGE_SIZE));
  return {{"system", fmt::format("{} {} {}", system.sysname, system.release, system.machine)},
          {"processor", processor()},
          {"threads", threads()},
          {"simd", std::string(to_text(simd()))},
          {"memory", human_bytes(memory)},
          {"cpu", describe("cpu")},
          {"cuda", describe_gpus()},
          {"wide_products", describe_cublaslt()}};
}

Json libraries() {
  return {{"Boost", fmt::format("{}.{}.{}", BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000, BOOST_VERSION % 100)},
          {"fmt", fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100)},
          {"libarchive", archive_version_string()},
          {"nlohmann-json", fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR,
                                        NLOHMANN_JSON_VERSION_PATCH)},
          {"OpenBLAS", std::string(trim(openblas_get_config()))},
          {"sentencepiece", MPQ_SENTENCEPIECE_VERSION},
          {"SQLite", sqlite3_libversion()},
          {"utf8proc", utf8proc_version()}};
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
