// Adapters as Hugging Face's peft writes and reads them: adapter_config.json and adapter_model.safetensors, in which
// the classifier that was trained with them stands too. Beside them mpq's own: mpq.json and, while a run can be
// resumed, its training state. The base stays where it is.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "train/checkpoint.h"

namespace mpq {

struct AdapterFolder {
  std::filesystem::path folder;  // where it was read
  AdapterPlan plan;
  Lora lora;
  struct Matrices {
    std::vector<float> a, b;  // [rank, K] [N, rank]
  };
  std::map<std::string, Matrices> matrices;  // by Linear
};

// What the folder says of the base's labels, classifier, formats and of how texts are cut takes their place in `base`.
// UserError naming file, key or tensor: for kinds of adapters that are not plain LoRA, for a base of another shape, for
// damaged files.
AdapterFolder read_adapter(const std::filesystem::path& folder, Checkpoint& base);

// Sets a replica's adapters; its rank and the model's plan are those of the folder.
void load_adapter(Session& session, int replica, const AdapterFolder& adapter);

// Replaces `folder` whole. `base` is where the base was read: peft looks for it there. Or into a folder that the caller
// commits.
void write_adapter(const std::filesystem::path& folder, Session& session, int replica, const CheckpointInfo& info,
                   const std::string& base, const TrainingState* state = nullptr);
void write_adapter(const AtomicFolder& target, Session& session, int replica, const CheckpointInfo& info,
                   const std::string& base, const TrainingState* state = nullptr);

// Makes `plain`, a session of the same model without adapters, say what the replica says: w + scale (a^T b)^T for every
// Linear with an adapter, everything else as it is. Exact up to the rounding of the sum; a Linear with a number format
// quantizes the sum from then on.
void merge_adapters(Session& session, int replica, Session& plain);
// What is left of a pruning then: a pruned weight of the base is none of the sum.
Pruning of_activations(Pruning pruning);

}  // namespace mpq
