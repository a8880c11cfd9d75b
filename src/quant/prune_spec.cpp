#include "quant/prune_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "quant/spec_text.h"
#include "quant/tiles.h"

namespace mpq {
namespace {

constexpr std::array<std::string_view, 3> methods = {"none", "random", "l1"};
constexpr std::array<std::string_view, 4> scopes = {"local", "global", "row", "batch"};
constexpr int64_t most_neighbours = 64;

class PruneParser {
 public:
  PruneParser(std::string_view text, Role role) : text_(trim(text)), role_(role) {}

  PruneSpec parse() {
    const Call call = parse_call(text_);
    const auto* method = std::find(methods.begin(), methods.end(), call.name);
    if (method == methods.end()) fail(fmt::format("unknown method \"{}\"", call.name), "methods: none, random, l1");
    spec_.method = static_cast<PruneMethod>(method - methods.begin());
    spec_.scope = role_ == Role::weight ? PruneScope::local : PruneScope::row;
    for (std::string_view part : call.keys.empty() ? std::vector<std::string_view>{} : split(call.keys, ','))
      read(part);
    if (!spec_ && !call.keys.empty()) fail("none takes no keys", "write none");
    if (spec_ && sparsity_given_ == (spec_.n > 0))
      fail("a sparsity or a pattern is needed, one of them", "write l1(sparsity=0.5) or l1(pattern=2:4)");
    return spec_;
  }

 private:
  void read(std::string_view part) {
    const size_t equals = part.find('=');
    const std::string_view key = trim(part.substr(0, equals));
    const std::string_view value = equals == std::string_view::npos ? "" : trim(part.substr(equals + 1));
    if (key == "sparsity")
      read_sparsity(value);
    else if (key == "scope" && spec_.method == PruneMethod::l1)
      read_scope(value);
    else if (key == "pattern" && role_ == Role::weight)
      read_pattern(value);
    else
      fail(fmt::format("unknown key \"{}\"", key),
           role_ == Role::weight ? "keys: sparsity, pattern, and scope for l1" : "keys: sparsity, and scope for l1");
  }

  void read_sparsity(std::string_view value) {
    const auto number = parse_double(value);
    if (!number || !(*number >= 0) || !(*number < 1))
      fail(fmt::format("sparsity={} is not allowed", value), "sparsity: from 0 up to, but not, 1");
    constexpr float below_one = 1 - std::numeric_limits<float>::epsilon() / 2;
    spec_.sparsity = std::min(static_cast<float>(*number), below_one);
    sparsity_given_ = true;
  }

  void read_scope(std::string_view value) {
    const auto* scope = std::find(scopes.begin(), scopes.end(), value);
    const auto first = role_ == Role::weight ? scopes.begin() : scopes.begin() + 2;
    if (scope < first || scope >= first + 2)
      fail(fmt::format("scope={} is not allowed", value), fmt::format("scope: {} or {}", first[0], first[1]));
    spec_.scope = static_cast<PruneScope>(scope - scopes.begin());
  }

  void read_pattern(std::string_view value) {
    const auto parts = split(value, ':');
    const auto n = parse_int(parts[0]), m = parts.size() == 2 ? parse_int(parts[1]) : std::nullopt;
    if (!n || !m || *n < 1 || *n > *m || *m > most_neighbours)
      fail(fmt::format("pattern={} is not allowed", value),
           fmt::format("pattern: n:m, of every m weights (at most {}) n stay, as in 2:4", most_neighbours));
    spec_.n = static_cast<int32_t>(*n), spec_.m = static_cast<int32_t>(*m);
    spec_.sparsity = 1 - static_cast<float>(*n) / static_cast<float>(*m);
  }

  [[noreturn]] void fail(const std::string& what, const std::string& hint) const {
    throw UserError(fmt::format("pruning \"{}\": {}", text_, what), hint);
  }

  std::string_view text_;
  Role role_;
  PruneSpec spec_;
  bool sparsity_given_ = false;
};

}  // namespace

PruneSpec parse_prune_spec(std::string_view text, Role role) { return PruneParser(text, role).parse(); }

std::string_view to_text(PruneMethod method) { return methods[static_cast<size_t>(method)]; }

std::string to_text(const PruneSpec& spec) {
  if (!spec) return "none";
  const std::string how_many =
      spec.n > 0 ? fmt::format("pattern={}:{}", spec.n, spec.m) : fmt::format("sparsity={}", spec.sparsity);
  const bool scoped = spec.method == PruneMethod::l1 && spec.n == 0;
  return fmt::format("{}({}{}{})", to_text(spec.method), how_many, scoped ? ",scope=" : "",
                     scoped ? scopes[static_cast<size_t>(spec.scope)] : "");
}

}  // namespace mpq
