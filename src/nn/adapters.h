// LoRA (Hu et al. 2021): low-rank adapters beside Linears of a base that stays as it is. Which there are, and how they
// lie in memory.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace mpq {

class Bert;
struct Linear;

// What the replicas of a session share.
struct AdapterPlan {
  std::vector<std::string> linears;  // names of those that have one, without the classifier; empty: no adapters
  int most_rank = 0;                 // of any replica
  float dropout = 0;                 // of an adapter's input, while training

  bool has(const std::string& linear) const {
    return std::find(linears.begin(), linears.end(), linear) != linears.end();
  }
};

// What a replica chooses. Rank 0: no adapters.
struct Lora {
  int rank = 0;
  double alpha = 0;
  float scale() const { return rank > 0 ? static_cast<float>(alpha / rank) : 0.0f; }
  bool operator==(const Lora&) const = default;
};

// Where a replica of this rank has one Linear's matrices in Bert::adapters: a [rank, K] from `a` on, then b [rank, N].
struct AdapterPlace {
  const Linear* linear;
  int64_t K, N, a, b;
};
std::vector<AdapterPlace> adapter_places(const Bert& model, int rank);
int64_t adapter_count(const Bert& model, int rank);       // numbers of them all
int64_t trained_parameters(const Bert& model, int rank);  // the adapters' and the model's that are not frozen

// The Linears that one of `targets` names, in the model's order: by a run of whole parts of the name ("query",
// "output.dense", "layer.0"; Hugging Face's target_modules mean the same) or a shell pattern (nn/parameters.h). The
// classifier is never one of them: it is trained whole. UserError for a target that names no Linear.
std::vector<std::string> adapter_targets(const Bert& model, const std::vector<std::string>& targets);

// Everything but the adapters and the classifier (Hugging Face's TaskType.SEQ_CLS trains that): the pooler too.
void freeze_base(Bert& model);

}  // namespace mpq
