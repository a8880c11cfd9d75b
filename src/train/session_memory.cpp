#include "train/session_memory.h"

#include <algorithm>

#include "nn/loss.h"
#include "tensor/dry_ops.h"

namespace mpq {

std::vector<std::vector<LinearSpec>> formats_of(const std::vector<Replica>& replicas) {
  std::vector<std::vector<LinearSpec>> specs;
  for (const Replica& r : replicas) specs.push_back(r.formats);
  return specs;
}

std::vector<Pruning> prunings_of(const std::vector<Replica>& replicas) {
  std::vector<Pruning> all;
  for (const Replica& r : replicas) all.push_back(r.pruning);
  return all;
}

Tensor Session::Memory::flat(int64_t size, int R) {
  Tensor t = parameters.tensor({size}, R);
  t.replica_stride = (size + 15) / 16 * 16;
  return t;
}

void Session::Memory::allocate(Arena arena, const Bert& model, const FormatTable& formats,
                               const SessionOptions& options, int64_t steps) {
  parameters = arena;
  const int R = formats.replicas();
  const ParameterSet& set = model.parameters();
  const int64_t size = set.size(), dense = set.dense_size(), vocabulary = model.word->shape[0];
  specs = parameters.array<QuantSpec>(static_cast<int64_t>(formats.table().size()));
  prune_specs = parameters.array<PruneSpec>(static_cast<int64_t>(formats.pruning().table().size()));
  tensors.values = flat(size, options.one_model ? 1 : R);
  if (options.one_model) tensors.values.replicas = R, tensors.values.replica_stride = 0;
  if (formats.pruning().weights()) mask = flat(dense, R);
  if (const int64_t quantized = formats.quantized_size(model)) tensors.quantized = flat(quantized, R);
  seeds = parameters.array<uint64_t>(R);
  if (model.adapters) tensors.adapter_ranks = adapter_ranks = parameters.array<AdapterRank>(R);
  prune_seeds = parameters.array<uint64_t>(R);
  step = parameters.array<int64_t>(1);
  eval_step = parameters.array<int64_t>(1);
  single_starts = parameters.array<int32_t>(std::max(options.batch_rows, options.eval_rows) + 1);
  if (!options.training) return;
  if (options.shards == 1) tensors.grads = flat(dense, R);
  for (int i = 0; options.shards > 1 && i < (options.shard < 0 ? options.shards : 1); ++i)
    shard_grads.push_back(flat(size + 16, R));
  m = flat(size, R), v = flat(size, R);
  scale = parameters.tensor({1}, R), norm = parameters.tensor({1}, R);
  table_data = parameters.array<float>(3 * R * steps);
  table = {table_data, table_data + R * steps, table_data + 2 * R * steps, steps};
  last = parameters.array<int32_t>(R * vocabulary);
  all_rows = parameters.array<int32_t>(vocabulary);
  row_count = parameters.array<int32_t>(1);
  history = parameters.array<float>(kWindow * R * 2);
  batch = batch_buffers(parameters, {.sequences = options.batch_rows,
                                     .tokens = int64_t{options.batch_rows} * options.max_tokens,
                                     .masked = int64_t{options.batch_rows} * options.masked_tokens,
                                     .segments = true});
  ranges = set.dense_ranges();
  if (options.shards > 1) {
    tensors.grads = shard_grads[0];
    if (!model.word->frozen)
      ranges.push_back({model.word->offset, model.word->offset + model.word->shape.size(), model.word->decay});
  }
  if (options.decay_all)
    for (ParameterRange& r : ranges) r.decay = true;
}

size_t Session::Memory::parameter_bytes(const Bert& model, const FormatTable& formats, const SessionOptions& options,
                                        int64_t steps) {
  Memory dry;
  dry.allocate(Arena(), model, formats, options, steps);
  return dry.parameters.peak();
}

namespace {

// A batch as large as any can be, for the dry run.
Batch largest_batch(int rows, int tokens, int masked, int vocabulary) {
  Batch b;
  b.row_starts = {0};
  for (int i = 0; i < rows; ++i) {
    b.labels.push_back(0);
    b.rows.push_back(i);
    b.row_starts.push_back((i + 1) * tokens);
  }
  b.tokens.resize(static_cast<size_t>(rows) * tokens);
  for (int i = 0; i <= rows && masked > 0; ++i) b.masked_starts.push_back(i * masked);
  b.masked_rows.resize(static_cast<size_t>(rows) * masked);
  b.masked_tokens.resize(b.masked_rows.size());
  b.token_order.resize(b.tokens.size());
  b.segment_tokens.resize(std::min<size_t>(b.tokens.size(), vocabulary));
  b.segment_starts.resize(b.segment_tokens.size() + 1);
  return b;
}

class Uploader {
 public:
  Uploader(Device* device, Arena& arena) : device_(device), arena_(arena) {}
  const int32_t* operator()(const std::vector<int32_t>& host) {
    auto* to = arena_.array<int32_t>(static_cast<int64_t>(host.size()));
    if (device_ && !host.empty()) device_->copy_in(to, host.data(), host.size() * sizeof(int32_t));
    return to;
  }

 private:
  Device* device_;
  Arena& arena_;
};

}  // namespace

BertBatch upload(Device* device, Arena& arena, const Batch& batch, const int32_t* single_starts, int32_t longest) {
  Uploader up(device, arena);
  const auto B = static_cast<int32_t>(batch.labels.size());
  const auto distinct = static_cast<int32_t>(batch.segment_tokens.size());
  ChosenRows masked;
  if (!batch.masked_rows.empty())
    masked = {.ragged = {up(batch.masked_starts), B, static_cast<int64_t>(batch.masked_rows.size()), longest},
              .rows = up(batch.masked_rows)};
  return {
      .ragged = {up(batch.row_starts), B, batch.token_count(), longest},
      .single_rows = {single_starts, B, B, 1},
      .tokens = up(batch.tokens),
      .segments = {up(batch.segment_tokens), up(batch.segment_starts), up(batch.token_order), up({distinct}), distinct},
      .labels = up(batch.labels),
      .masked = masked,
      .masked_tokens = up(batch.masked_tokens),
      .numbers = up({batch.rows.begin(), batch.rows.end()})};
}

size_t Session::Memory::activation_bytes(const Bert& model, const FormatTable& formats, const SessionOptions& options,
                                         bool train) {
  Memory dry;
  dry.allocate(Arena(), model, formats, options, 1);
  Arena arena;
  const BertBatch batch =
      upload(nullptr, arena,
             largest_batch(train ? (options.batch_rows + options.shards - 1) / options.shards : options.eval_rows,
                           std::min(options.max_tokens, model.config().positions), options.masked_tokens,
                           model.config().vocabulary),
             nullptr, options.max_tokens);
  Tape tape(dry_ops(), arena, formats.replicas(), train);
  if (train && !model.word->frozen) dry.tensors.dword = tape.tensor({batch.segments.most, model.config().hidden});
  if (train || model.head() == Head::masked_lm)
    training_loss(tape, model, dry.tensors, formats, batch, {.on = train});
  else
    mpq::forward(tape, model, dry.tensors, formats, batch, {});
  if (train) tape.backward();
  return arena.peak();
}

size_t Session::Memory::largest_activation_bytes(const Bert& model, const FormatTable& formats,
                                                 const SessionOptions& options) {
  const size_t training = options.training ? activation_bytes(model, formats, options, true) : 0;
  return std::max(training, activation_bytes(model, formats, options, false));
}

SessionOptions Session::Memory::with_eval_rows(const Device& device, const Bert& model, const FormatTable& formats,
                                               SessionOptions options) {
  if (options.eval_rows > 0) return options;
  if (formats.pruning().over_batch()) {  // the batch decides results: nothing else may decide the batch
    options.eval_rows = options.batch_rows;
    return options;
  }
  constexpr int fewest = 16;
  options.eval_rows = std::max(fewest, device.rows_at_once() / formats.replicas());
  const size_t training = options.training ? activation_bytes(model, formats, options, true) : 0;
  const size_t limit = std::max(training, size_t{4} << 30);
  while (options.eval_rows > fewest && activation_bytes(model, formats, options, false) > limit)
    options.eval_rows = std::max(fewest, options.eval_rows / 2);
  return options;
}

}  // namespace mpq
