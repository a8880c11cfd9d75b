#include "app/lora_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace mpq {
namespace {

constexpr const char* kExample = "rank=8,alpha=16,dropout=0.05,targets=query,value";

std::vector<double> numbers(const std::string& key, const std::string& text, double min, double max) {
  std::vector<double> values;
  for (const std::string_view part : split(text, ':')) {
    const auto value = parse_double(part);
    if (!value || !(*value >= min && *value <= max))
      throw UserError(fmt::format("--lora: {} is {}", key, part), fmt::format("a number from {} to {}", min, max));
    values.push_back(*value);
  }
  return values;
}

std::vector<double> ranks_of(const std::string& text) {
  const std::vector<double> ranks = numbers("rank", text, 1, 65536);
  for (const double rank : ranks)
    if (rank != static_cast<int>(rank)) throw UserError(fmt::format("--lora: rank is {}", rank), "a whole number");
  return ranks;
}

}  // namespace

LoraText parse_lora(const std::string& text) {
  LoraText result;
  std::vector<double> ranks{8}, alphas{16};
  std::string key;
  for (const std::string_view item : split(text, ',')) {
    const size_t equals = item.find('=');
    if (equals != std::string::npos) key = item.substr(0, equals);
    const std::string value(equals == std::string::npos ? item : item.substr(equals + 1));
    if (key == "targets")
      result.targets.push_back(value);
    else if (equals == std::string::npos || (key != "rank" && key != "alpha" && key != "dropout"))
      throw UserError(fmt::format("--lora {}: {} is no setting of it", text, item),
                      fmt::format("rank, alpha, dropout and targets, as in {}", kExample));
    else if (key == "rank")
      ranks = ranks_of(value);
    else if (key == "alpha")
      alphas = numbers(key, value, 0, 1e6);
    else
      result.dropout = numbers(key, value, 0, 0.99).at(0);
  }
  if (alphas.size() != 1 && alphas.size() != ranks.size())
    throw UserError(fmt::format("--lora {}: {} ranks and {} alphas", text, ranks.size(), alphas.size()),
                    "one alpha for all ranks, or one each");
  for (size_t i = 0; i < ranks.size(); ++i)
    result.loras.push_back({static_cast<int>(ranks[i]), alphas[alphas.size() == 1 ? 0 : i]});
  if (result.targets.empty()) result.targets = {"query", "value"};
  return result;
}

Adaptation adapt(const BertConfig& config, const LoraText& text) {
  const Bert model(config);
  Adaptation result{.plan = {.linears = {}, .dropout = static_cast<float>(text.dropout)}, .loras = text.loras};
  try {
    result.plan.linears = adapter_targets(model, text.targets);
  } catch (const UserError& error) {
    throw UserError(fmt::format("--lora: {}", error.what()), error.hint());
  }
  for (const Lora& lora : text.loras) result.plan.most_rank = std::max(result.plan.most_rank, lora.rank);
  for (const Linear* linear : model.linears()) {
    const Shape& w = linear->weight->shape;
    if (result.plan.has(linear->name) && result.plan.most_rank > std::min(w[0], w[1]))
      throw UserError(
          fmt::format("--lora: rank is {}, and {} is {} x {}", result.plan.most_rank, linear->name, w[0], w[1]),
          fmt::format("ranks up to {}", std::min(w[0], w[1])));
  }
  return result;
}

std::string describe_adapters(const Bert& model, const Lora& lora) {
  const int64_t trained = trained_parameters(model, lora.rank);
  return fmt::format("adapters of rank {}, alpha {} beside {} of {} Linears: {} parameters are trained, {:.2f} %",
                     lora.rank, lora.alpha, model.adapter_plan().linears.size(), model.linears().size(), trained,
                     100 * static_cast<double>(trained) / static_cast<double>(model.parameters().count()));
}

void LoraArgs::add_to(CommandLine& line) {
  line.group("Adapters");
  line.option("lora", lora, "SETTINGS",
              fmt::format("train low-rank adapters and the classifier, nothing else: {}; targets are Linears, by parts "
                          "of their names or shell patterns",
                          kExample));
  line.option("adapter", adapter, "DIR", "go on with the adapters that mpq or peft wrote, on their base --init");
  line.flag("merge", merge, "fold the adapters into the base: --out becomes a plain model");
}

void LoraArgs::check_against(const CommandLine& line) const {
  if (!lora.empty() && !adapter.empty())
    throw UserError("--lora and --adapter are both given",
                    "an adapter that was trained brings its own rank and targets");
  if (merge && !asked()) throw UserError("--merge: there is no adapter", "--lora trains one, --adapter DIR reads one");
  if (asked() && !line.given("init"))
    throw UserError(lora.empty() ? "--adapter without --init" : "--lora without --init",
                    "--init DIR names the base that the adapters stand beside");
}

Adaptation LoraArgs::resolve(const BertConfig& config, const std::optional<AdapterFolder>& folder) const {
  if (folder) return {folder->plan, {folder->lora}};
  if (lora.empty()) return {.plan = {}, .loras = {Lora{}}};
  Adaptation result = adapt(config, parse_lora(lora));
  if (result.loras.size() != 1)
    throw UserError(fmt::format("--lora {}: {} ranks", lora, result.loras.size()),
                    "mpq train takes one; mpq lora trains several side by side");
  return result;
}

void AdapterArgs::add_to(CommandLine& line) {
  line.option("adapter", folder, "DIR", "LoRA adapters on this checkpoint, as mpq or peft wrote them");
}

std::optional<AdapterFolder> AdapterArgs::read(Checkpoint& base) const {
  if (folder.empty()) return std::nullopt;
  return read_adapter(folder, base);
}

}  // namespace mpq
