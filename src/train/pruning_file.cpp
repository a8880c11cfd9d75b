#include "train/pruning_file.h"

#include <algorithm>

#include "base/safetensors.h"
#include "base/text.h"
#include "quant/tiles.h"

namespace mpq {
namespace fs = std::filesystem;
namespace {
using Json = nlohmann::ordered_json;

constexpr const char* kMasks = "masks.safetensors";

PruneSpec read_spec(const JsonFile& file, const Json& object, const char* key, Role role) {
  const auto found = object.find(key);
  if (found == object.end()) return {};
  const std::string path = std::string("pruning.") + key;
  if (!found->is_string()) file.fail(path, found->dump(), "a text such as l1(sparsity=0.5)");
  try {
    return parse_prune_spec(found->get<std::string>(), role);
  } catch (const UserError& error) {
    throw UserError(fmt::format("{}: {}: {}", file.path().string(), path, error.what()), error.hint());
  }
}

std::vector<bool> read_linears(const JsonFile& file, const Json& names, const Bert& model) {
  if (!names.is_array()) file.fail("pruning.linears", names.dump(), "names of Linears");
  std::vector<bool> linears(model.linears().size(), false);
  for (const Json& name : names) {
    const auto linear = std::find_if(model.linears().begin(), model.linears().end(),
                                     [&](const Linear* l) { return name.is_string() && l->name == name; });
    if (linear == model.linears().end()) file.fail("pruning.linears", name.dump(), "the names of the model's Linears");
    linears[(*linear)->index] = true;
  }
  return linears;
}

std::string to_text(const std::vector<int64_t>& shape) { return "[" + fmt::format("{}", fmt::join(shape, ", ")) + "]"; }

std::vector<uint8_t> read_mask(const SafeTensors& file, const Linear& linear, const fs::path& path) {
  const std::string& name = linear.weight->name;
  const NamedTensors::Entry& entry = file.at(name);
  const std::vector<int64_t> shape = {linear.weight->shape[0], linear.weight->shape[1]};
  if (entry.shape != shape || entry.dtype != "BOOL")
    throw UserError(fmt::format("{}: the mask {} is {} {}", path.string(), name, entry.dtype, to_text(entry.shape)),
                    fmt::format("its weight needs BOOL {}", to_text(shape)));
  std::vector<uint8_t> mask(entry.data.size());
  std::transform(entry.data.begin(), entry.data.end(), mask.begin(), [](std::byte b) { return uint8_t(b); });
  if (std::any_of(mask.begin(), mask.end(), [](uint8_t b) { return b > 1; }))
    throw UserError(fmt::format("{}: the mask {} holds a byte that is neither 0 nor 1", path.string(), name));
  return mask;
}

}  // namespace

Json to_json(const Pruning& pruning, const Bert& model) {
  Json linears = Json::array();
  for (const Linear* linear : model.linears())
    if (pruning.covers(*linear)) linears.push_back(linear->name);
  return {{"weights", mpq::to_text(pruning.weights)},
          {"activations", mpq::to_text(pruning.activations)},
          {"linears", linears},
          {"seed", pruning.seed}};
}

Pruning read_pruning(const JsonFile& file, const Bert& model) {
  const Json object = file.object("pruning");
  Pruning pruning{.weights = read_spec(file, object, "weights", Role::weight),
                  .activations = read_spec(file, object, "activations", Role::activation)};
  if (const auto names = object.find("linears"); names != object.end())
    pruning.linears = read_linears(file, *names, model);
  if (const auto seed = object.find("seed"); seed != object.end()) {
    if (!seed->is_number_unsigned()) file.fail("pruning.seed", seed->dump(), "an integer from 0 to 2^64 - 1");
    pruning.seed = seed->get<uint64_t>();
  }
  return pruning;
}

void write_masks(const fs::path& folder, const Bert& model, const WeightMasks& masks) {
  std::vector<SafeTensor> tensors;
  for (const Linear* linear : model.linears())
    if (!masks.empty() && !masks[linear->index].empty())
      tensors.push_back({linear->weight->name,
                         "BOOL",
                         {linear->weight->shape[0], linear->weight->shape[1]},
                         masks[linear->index].data()});
  if (!tensors.empty()) write_safetensors(folder / kMasks, tensors);
}

WeightMasks read_masks(const fs::path& folder, const Bert& model, const Pruning& pruning) {
  const fs::path path = folder / kMasks;
  if (!fs::exists(path))
    throw UserError(fmt::format("{} is missing", path.string()),
                    fmt::format("the folder's mpq.json says weights are pruned by {}", mpq::to_text(pruning.weights)));
  const SafeTensors file(path);
  WeightMasks masks(model.linears().size());
  for (const Linear* linear : model.linears())
    if (pruning.covers(*linear)) masks[linear->index] = read_mask(file, *linear, path);
  return masks;
}

}  // namespace mpq
