// What a checkpoint's folder says of pruning: an object in mpq.json, and masks.safetensors with a tensor of BOOL for
// each pruned weight, under the weight's name.
#pragma once
#include <filesystem>

#include "base/json_file.h"
#include "nn/pruning.h"

namespace mpq {

nlohmann::ordered_json to_json(const Pruning& pruning, const Bert& model);
// Nothing where the file has no member "pruning". UserError for a bad spec, or a Linear that the model lacks.
Pruning read_pruning(const JsonFile& file, const Bert& model);

// Writes nothing where there are no masks.
void write_masks(const std::filesystem::path& folder, const Bert& model, const WeightMasks& masks);
// UserError for a lacking mask, another shape or type, a value that is neither 0 nor 1.
WeightMasks read_masks(const std::filesystem::path& folder, const Bert& model, const Pruning& pruning);

}  // namespace mpq
