#include "app/prune_points.h"

#include <algorithm>
#include <cmath>

#include "app/name_pattern.h"
#include "base/error.h"
#include "base/text.h"
#include "quant/tiles.h"

namespace mpq {
namespace {

constexpr const char* kSparsities = "numbers from 0 up to, but not, 1: 0.5, or 0.1,0.5,0.9, or FROM:TO:STEP";

[[noreturn]] void refuse_sparsities(const std::string& text) {
  throw UserError(fmt::format("--sparsity {} is not allowed", text), kSparsities);
}

double parse_number(std::string_view part, const std::string& text) {
  const auto number = parse_double(trim(part));
  if (!number || !std::isfinite(*number)) refuse_sparsities(text);
  return *number;
}

std::vector<float> parse_sparsities(const std::string& text) {
  std::vector<float> all;
  if (const auto range = split(text, ':'); range.size() == 3) {
    const double from = parse_number(range[0], text), to = parse_number(range[1], text),
                 step = parse_number(range[2], text);
    if (!(step >= 1e-3) || !(from >= 0) || !(to < 1)) refuse_sparsities(text);
    for (int i = 0; from + i * step <= to + step / 1000; ++i) all.push_back(static_cast<float>(from + i * step));
  } else {
    for (const std::string_view part : split(text, ',')) all.push_back(static_cast<float>(parse_number(part, text)));
  }
  for (size_t i = 0; i < all.size(); ++i)
    if (!(all[i] >= 0) || !(all[i] < 1) || std::count(all.begin(), all.begin() + static_cast<int64_t>(i), all[i]))
      refuse_sparsities(text);
  if (all.empty()) refuse_sparsities(text);
  return all;
}

std::vector<PruneMethod> parse_methods(const std::string& text) {
  std::vector<PruneMethod> all;
  for (const std::string_view part : split(text, ',')) {
    const std::string_view name = trim(part);
    const PruneMethod method = name == "l1" ? PruneMethod::l1 : PruneMethod::random;
    if (to_text(method) != name || std::count(all.begin(), all.end(), method))
      throw UserError(fmt::format("--method {} is not allowed", text), "l1, random, or both separated by a comma");
    all.push_back(method);
  }
  return all;
}

PruneSpec weights_of(PruneMethod method, float sparsity, const PruneOptions& o) {
  const std::string how_many =
      o.pattern.empty() ? fmt::format("sparsity={}", sparsity) : fmt::format("pattern={}", o.pattern);
  const bool scoped = method == PruneMethod::l1 && o.pattern.empty();
  return parse_prune_spec(
      fmt::format("{}({}{})", to_text(method), how_many, scoped ? fmt::format(",scope={}", o.scope) : ""),
      Role::weight);
}

// A pattern n:m stands for the sparsity 1 - n/m.
std::vector<float> sparsities_of(const PruneOptions& o) {
  if (o.pattern.empty()) return parse_sparsities(o.sparsities);
  return {weights_of(PruneMethod::l1, 0, o).sparsity};
}

}  // namespace

void PruneOptions::add_to(CommandLine& line) {
  line.group("Pruning");
  line.option("sparsity", sparsities, "S[,S]|FROM:TO:STEP", "share of zeros; several: a sweep");
  line.option("method", methods, "l1|random[,...]", "the smallest magnitudes go, or random elements");
  line.flag("weights", weights, "prune weights, once and for good (neither flag: both)");
  line.flag("activations", activations, "prune what the Linears read, anew in every forward");
  line.option("pattern", pattern, "N:M", "instead of --sparsity: of every M weights along the input N stay, as in 2:4");
  line.choice("scope", scope, {"local", "global"}, "l1's threshold of weights: of each, or of all together");
  line.choice(
      "activation-scope", activation_scope, {"row", "batch"},
      "l1's threshold of activations: of a token's row, or of a batch (as in the labs: a result then depends on "
      "the batch)");
  line.list("linear", linears, "NAME", "prune only this Linear, or those that a shell pattern names; may be repeated");
  line.option("seeds", seeds, "N", "--seed and the next ones", {.min = 1, .max = 1000});
  line.flag("control", control, "train the dense model too, with the same epochs (a sweep always does)");
  line.option("replicas", replicas, "N",
              "points trained together in a session, with the same results; 0: what suits the device",
              {.min = 0, .max = 4096});
  line.option("out", out, "DIR", "the pruned model; of a sweep table, figure, every point");
  data.add_to(line);
  train.add_to(line);
  formats.add_to(line);
  machine.add_to(line);
}

std::string PrunePoint::name() const {
  const std::string what = is_control() ? "dense" : fmt::format("{} {}", to_text(method), sparsity);
  return fmt::format("{}{} seed {}", what, tuned ? " fine-tuned" : "", seed);
}

std::vector<PrunePoint> prune_points(const PruneOptions& options) {
  if (options.train.init.empty())
    throw UserError("pruning starts from a trained model", "name it with --init DIR; mpq train --out DIR makes one");
  struct Kind {
    PruneMethod method;
    float sparsity;
  };
  std::vector<Kind> kinds = {{PruneMethod::none, 0}};
  for (const PruneMethod method : parse_methods(options.methods))
    for (const float sparsity : sparsities_of(options)) kinds.push_back({method, sparsity});
  const bool control = options.control || kinds.size() > 2 || options.seeds > 1;
  std::vector<PrunePoint> points;
  for (int s = 0; s < options.seeds; ++s)
    for (const bool tuned : {false, true})
      for (const Kind& kind : kinds)
        if (!tuned || (options.tunes() && (kind.method != PruneMethod::none || control)))
          points.push_back({tuned, kind.method, kind.sparsity, options.train.seed + static_cast<uint64_t>(s)});
  return points;
}

bool is_single(const std::vector<PrunePoint>& points) {
  const auto untuned = [](const PrunePoint& p) { return !p.tuned && !p.is_control(); };
  return std::count_if(points.begin(), points.end(), untuned) == 1;
}

Pruning pruning_of(const PrunePoint& point, const PruneOptions& options, const Bert& model) {
  Pruning pruning{.seed = point.seed};
  if (point.is_control()) return pruning;
  if (options.prunes_weights()) pruning.weights = weights_of(point.method, point.sparsity, options);
  if (options.prunes_activations())
    pruning.activations =
        parse_prune_spec(fmt::format("{}(sparsity={}{})", to_text(point.method), point.sparsity,
                                     point.method == PruneMethod::l1 ? ",scope=" + options.activation_scope : ""),
                         Role::activation);
  if (options.linears.empty()) return pruning;
  std::vector<std::string> names;
  for (const Linear* linear : model.linears()) names.push_back(linear->name);
  pruning.linears.resize(names.size(), false);
  for (const std::string& pattern : options.linears)
    for (const size_t i : names_matching(pattern, names, "--linear", "Linear")) pruning.linears[i] = true;
  return pruning;
}

}  // namespace mpq
