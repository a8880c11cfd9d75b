#include "search/owner.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/text.h"

namespace mpq {
namespace {

constexpr double kGraceSeconds = 300;

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof(name) - 1);
  return name;
}

// Field 22 of /proc/PID/stat (proc(5)): clock ticks since boot; "" if there is no such process, or a dead one that
// nobody has waited for (a container without an init).
std::string start_time(int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return "";
  const size_t after_name = line.rfind(')');  // the name may hold spaces
  if (after_name == std::string::npos) return "";
  std::istringstream fields(line.substr(after_name + 1));
  std::string state, field;
  fields >> state;
  for (int i = 4; i <= 22; ++i) fields >> field;
  return state == "Z" || state == "X" ? "" : field;
}

std::string describe(int64_t pid) { return fmt::format("{} {} {}", host_name(), pid, start_time(pid)); }

}  // namespace

std::string this_process() { return nlohmann::json(describe(getpid())).dump(-1, ' ', true); }

bool is_dead(const std::string& owner, double heartbeat_age_s) {
  const auto text = nlohmann::json::parse(owner, nullptr, false);
  if (!text.is_string()) return false;
  const std::string process = text;
  const auto words = split(process, ' ');
  const auto pid = words.size() == 3 ? parse_int(words[1]) : std::nullopt;
  if (!pid) return false;
  if (words[0] != host_name()) return heartbeat_age_s > kGraceSeconds;
  return describe(*pid) != process;
}

}  // namespace mpq
