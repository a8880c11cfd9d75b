#include "app/architecture_space.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "quant/tiles.h"

namespace mpq {
namespace {

std::vector<int64_t> sizes(const char* option, const std::string& text, int64_t most) {
  std::vector<int64_t> sizes;
  for (const std::string_view part : split(text, ',')) {
    const auto n = parse_int(trim(part));
    const bool fresh = n && std::find(sizes.begin(), sizes.end(), *n) == sizes.end();
    if (!fresh || *n < 1 || *n > most)
      throw UserError(fmt::format("--{} {}: {} is not a size, or there twice", option, text, part),
                      fmt::format("different integers from 1 to {}, separated by commas", most));
    sizes.push_back(*n);
  }
  return sizes;
}

int64_t largest_of(const std::vector<int64_t>& sizes) { return *std::max_element(sizes.begin(), sizes.end()); }

std::pair<std::string, Distribution> choice(const std::string& name, const std::vector<int64_t>& sizes) {
  return {name, CategoricalDistribution{{sizes.begin(), sizes.end()}}};
}

int size_in(const FrozenTrial& trial, const char* name) {
  const TrialParameter* p = trial.find(name);
  check(p != nullptr, "trial {} has no {}", trial.number, name);
  return static_cast<int>(std::get<int64_t>(p->external()));
}

BertConfig config_of(BertConfig config, const FrozenTrial& trial) {
  config.layers = size_in(trial, "num_layers");
  config.heads = size_in(trial, "num_heads");
  config.hidden = size_in(trial, "hidden_size");
  config.ffn = size_in(trial, "intermediate_size");
  return config;
}

std::string type_of(const std::string& linear) { return linear + "_type"; }

}  // namespace

std::vector<Compression> compressions(const SearchOptions& o) {
  const Compression none{.name = "nas", .formats = ""};
  if (o.space == "nas") return {none};
  const Pruning pruning{parse_prune_spec(o.prune_weights, Role::weight),
                        parse_prune_spec(o.prune_activations, Role::activation)};
  return {
      none, {"nas-compressed", o.compress, pruning, 0}, {"nas-compressed-trained", o.compress, pruning, o.post_epochs}};
}

ArchitectureSpace::ArchitectureSpace(const SearchOptions& o, const std::string& sampler,
                                     std::shared_ptr<const Bert> base, Compression compression)
    : base_(std::move(base)),
      layers_(sizes("layers", o.layers, 1024)),
      heads_(sizes("heads", o.heads, 8192)),
      hidden_(sizes("hidden", o.hidden, 2048)),
      ffn_(sizes("ffn", o.ffn, 65536)),
      identities_(o.identity == "auto" ? sampler != "grid" : o.identity == "yes"),
      compression_(std::move(compression)) {
  for (const int64_t hidden : hidden_)
    for (const int64_t heads : heads_)
      if (hidden % heads != 0 || hidden / heads < 8 || hidden / heads > 256)
        throw UserError(fmt::format("--hidden {} with --heads {}", hidden, heads),
                        "hidden must be a multiple of the heads, with 8 to 256 columns a head");
  if (!compression_.formats.empty()) parse_linear_spec(compression_.formats);
}

SearchSpace ArchitectureSpace::parameters() const {
  return {choice("num_layers", layers_), choice("num_heads", heads_), choice("hidden_size", hidden_),
          choice("intermediate_size", ffn_)};
}

FurtherParameters ArchitectureSpace::further() const {
  if (!identities_) return {};
  return [base = base_->config()](const FrozenTrial& trial) {
    SearchSpace space;
    for (const std::string& linear : square_linears(config_of(base, trial)))
      space.emplace_back(type_of(linear), categorical({"linear", "identity"}));
    return space;
  };
}

Candidate ArchitectureSpace::candidate(const FrozenTrial& trial) const {
  BertConfig config = config_of(base_->config(), trial);
  for (const std::string& linear : square_linears(config))
    if (const TrialParameter* p = trial.find(type_of(linear)); p && to_text(p->external()) == "identity")
      config.identities.insert(linear);
  return candidate(config);
}

Candidate ArchitectureSpace::candidate(const BertConfig& config) const {
  Candidate candidate{.model = std::make_shared<const Bert>(config), .formats = {}};
  candidate.formats.resize(candidate.model->linears().size());
  if (compression_.formats.empty()) return candidate;
  std::fill(candidate.formats.begin(), candidate.formats.end(), parse_linear_spec(compression_.formats));
  candidate.pruning = compression_.pruning;
  candidate.epochs_after = compression_.epochs;
  return candidate;
}

Candidate ArchitectureSpace::largest() const {
  BertConfig config = base_->config();
  config.layers = static_cast<int>(largest_of(layers_)), config.heads = static_cast<int>(largest_of(heads_));
  config.hidden = static_cast<int>(largest_of(hidden_)), config.ffn = static_cast<int>(largest_of(ffn_));
  return candidate(config);
}

std::string ArchitectureSpace::recipe() const {
  std::string text = identities_ ? " with identities" : "";
  if (!compression_.formats.empty())
    text += fmt::format(" compressed to {} {}, then {} epochs", compression_.formats,
                        to_text(compression_.pruning, *base_), compression_.epochs);
  return text;
}

std::string describe_architecture(const BertConfig& c) {
  const auto count = [](size_t n, const char* one, const char* many) {
    return fmt::format("{} {}", n, n == 1 ? one : many);
  };
  std::string text = fmt::format("{}, {}, {}/{}", count(static_cast<size_t>(c.layers), "layer", "layers"),
                                 count(static_cast<size_t>(c.heads), "head", "heads"), c.hidden, c.ffn);
  if (!c.identities.empty()) text += ", " + count(c.identities.size(), "identity", "identities");
  return text;
}

}  // namespace mpq
