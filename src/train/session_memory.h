// Everything a session keeps on its device, and how much that is.
#pragma once
#include <vector>

#include "train/session.h"

namespace mpq {

struct Session::Memory {
  Arena parameters, activations;
  QuantSpec* specs = nullptr;        // [R][linears][4]
  PruneSpec* prune_specs = nullptr;  // [R][linears], where activations are pruned
  BertTensors tensors;
  std::vector<Tensor> shard_grads;  // of a sum of shards: one a shard computed here, [whole size, then the loss]
  Tensor mask;                      // flat [R][dense size], where weights are pruned: 0 for those that are, else 1
  Tensor m, v, scale, norm;
  AdamWTable table;
  float* table_data = nullptr;                                         // [3][R][steps]
  int32_t *last = nullptr, *all_rows = nullptr, *row_count = nullptr;  // [R][V] [V] [1] of the word embedding
  uint64_t *seeds = nullptr, *prune_seeds = nullptr;                   // [R] [R]
  AdapterRank* adapter_ranks = nullptr;                                // [R]
  int64_t *step = nullptr, *eval_step = nullptr;                       // [1] [1]
  float* history = nullptr;                                            // [kWindow][R][2]: loss, norm
  int32_t* single_starts = nullptr;                                    // 0 ... B
  BatchSlots batch;                                                    // what a step on the attached data set reads
  std::vector<ParameterRange> ranges;

  // With a measuring arena it only adds up.
  void allocate(Arena arena, const Bert& model, const FormatTable& formats, const SessionOptions& options,
                int64_t steps);
  // Of one step, by a dry run on the largest batch.
  static size_t activation_bytes(const Bert& model, const FormatTable& formats, const SessionOptions& options,
                                 bool train);
  static size_t largest_activation_bytes(const Bert& model, const FormatTable& formats, const SessionOptions& options);
  // Options with eval_rows filled in: what fills the device, as long as that takes no more memory than training or
  // 4 GiB.
  static SessionOptions with_eval_rows(const Device& device, const Bert& model, const FormatTable& formats,
                                       SessionOptions options);
  static size_t parameter_bytes(const Bert& model, const FormatTable& formats, const SessionOptions& options,
                                int64_t steps);

 private:
  Tensor flat(int64_t size, int R);
};

// Copies a batch from the host into an arena of the device; without a device (dry run) it only takes the room.
BertBatch upload(Device* device, Arena& arena, const Batch& batch, const int32_t* single_starts, int32_t longest);

std::vector<std::vector<LinearSpec>> formats_of(const std::vector<Replica>& replicas);
std::vector<Pruning> prunings_of(const std::vector<Replica>& replicas);

}  // namespace mpq
