#include "train/session.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "train/initialise.h"

namespace mpq {
namespace {

std::vector<std::vector<LinearSpec>> formats_of(const std::vector<Replica>& replicas) {
  std::vector<std::vector<LinearSpec>> specs;
  for (const Replica& r : replicas) specs.push_back(r.formats);
  return specs;
}

}  // namespace

// Everything a session keeps on the device. With a measuring arena it only adds up.
struct Session::Memory {
  Arena parameters, activations, scratch;
  BertTensors tensors;
  Tensor m, v, scale, norm;
  AdamWTable table;
  float* table_data = nullptr;                   // [3][R][steps]
  int32_t *last = nullptr, *all_rows = nullptr;  // [V]
  uint64_t* seeds = nullptr;
  int64_t* step = nullptr;
  std::vector<ParameterRange> ranges;
  std::vector<QuantizeWeights::Item> weight_items;

  void allocate(Arena arena, const Bert& model, int R, const FormatTable& formats, const SessionOptions& options,
                int64_t steps) {
    parameters = arena;
    const ParameterSet& set = model.parameters();
    const int64_t size = set.size(), dense = set.dense_size();
    tensors.values = flat(size, R);
    if (formats.weights_quantized()) tensors.quantized = flat(dense, R);
    seeds = parameters.array<uint64_t>(R);
    step = parameters.array<int64_t>(1);
    if (options.training) {
      tensors.grads = flat(dense, R);
      m = flat(size, R), v = flat(size, R);
      scale = parameters.tensor({1}, R), norm = parameters.tensor({1}, R);
      table_data = parameters.array<float>(3 * R * steps);
      table = {table_data, table_data + R * steps, table_data + 2 * R * steps, steps};
      last = parameters.array<int32_t>(model.word->shape[0]);
      all_rows = parameters.array<int32_t>(model.word->shape[0]);
      ranges = set.dense_ranges();
      if (options.decay_all)
        for (ParameterRange& r : ranges) r.decay = true;
    }
    weight_items = formats.weight_items(model, tensors);
  }

  Tensor flat(int64_t size, int R) {
    Tensor t = parameters.tensor({size}, R);
    t.replica_stride = (size + 15) / 16 * 16;
    return t;
  }

  static size_t activation_bytes(const Bert& model, int R, const FormatTable& formats, const SessionOptions& options);
};

namespace {

// A batch as large as any can be, for the dry run.
Batch largest_batch(int rows, int tokens, int vocabulary) {
  Batch b;
  b.row_starts = {0};
  for (int i = 0; i < rows; ++i) {
    b.labels.push_back(0);
    b.row_starts.push_back((i + 1) * tokens);
  }
  b.tokens.resize(static_cast<size_t>(rows) * tokens);
  b.token_order.resize(b.tokens.size());
  b.segment_tokens.resize(std::min<size_t>(b.tokens.size(), vocabulary));
  b.segment_starts.resize(b.segment_tokens.size() + 1);
  return b;
}

// Copies host arrays into an arena of the device; without a device (dry run) it only takes the room.
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

BertBatch upload(Device* device, Arena& arena, const Batch& batch) {
  Uploader up(device, arena);
  const auto B = static_cast<int32_t>(batch.labels.size());
  std::vector<int32_t> ones(B + 1);
  std::iota(ones.begin(), ones.end(), 0);
  int32_t longest = 0;
  for (int32_t b = 0; b < B; ++b) longest = std::max(longest, batch.row_starts[b + 1] - batch.row_starts[b]);
  BertBatch result;
  result.ragged = {up(batch.row_starts), B, static_cast<int64_t>(batch.tokens.size()), longest};
  result.single_rows = {up(ones), B, B, 1};
  result.tokens = up(batch.tokens);
  result.segments = {up(batch.segment_tokens), up(batch.segment_starts), up(batch.token_order),
                     static_cast<int64_t>(batch.segment_tokens.size())};
  result.labels = up(batch.labels);
  return result;
}

// One step's tape on an arena: loss and gradients when `train`, else logits.
struct Pass {
  Tensor loss;
  Var logits;
};
Pass run(Tape& tape, const Bert& model, BertTensors& tensors, const FormatTable& formats, const BertBatch& batch,
         const DropoutState& dropout, bool train) {
  if (train) tensors.dword = tape.tensor({batch.segments.count, model.config().hidden});
  Pass pass;
  pass.logits = forward(tape, model, tensors, formats, batch, dropout);
  if (!train) return pass;
  pass.loss = cross_entropy(tape, pass.logits, batch.labels);
  tape.backward();
  return pass;
}

}  // namespace

size_t Session::Memory::activation_bytes(const Bert& model, int R, const FormatTable& formats,
                                         const SessionOptions& options) {
  size_t peak = 0;
  Memory dry;
  dry.allocate(Arena(), model, R, formats, options, 1);
  for (const bool train : {true, false}) {
    if (train && !options.training) continue;
    Arena arena;
    const Batch batch =
        largest_batch(train ? options.batch_rows : options.eval_rows,
                      std::min(options.max_tokens, model.config().positions), model.config().vocabulary);
    const BertBatch b = upload(nullptr, arena, batch);
    Tape tape(dry_ops(), arena, R, train);
    run(tape, model, dry.tensors, formats, b, {}, train);
    peak = std::max(peak, arena.peak());
  }
  return peak;
}

size_t Session::memory(const Bert& model, const std::vector<Replica>& replicas, const SessionOptions& options) {
  const FormatTable formats(model, formats_of(replicas));
  Memory dry;
  dry.allocate(Arena(), model, static_cast<int>(replicas.size()), formats, options,
               std::max<int64_t>(1, replicas[0].schedule.steps));
  return dry.parameters.peak() + Memory::activation_bytes(model, static_cast<int>(replicas.size()), formats, options);
}

Session::Session(Device& device, const Bert& model, std::vector<Replica> replicas, const SessionOptions& options)
    : device_(device),
      model_(model),
      replicas_(std::move(replicas)),
      options_(options),
      formats_(model, formats_of(replicas_)),
      memory_(std::make_unique<Memory>()) {
  const int R = this->replicas();
  const int64_t steps = std::max<int64_t>(1, replicas_[0].schedule.steps);
  for (const Replica& r : replicas_)
    check(std::max<int64_t>(1, r.schedule.steps) == steps, "replicas of {} and {} steps", r.schedule.steps, steps);
  Memory dry;
  dry.allocate(Arena(), model, R, formats_, options, steps);
  memory_->allocate(device.reserve(dry.parameters.peak()), model, R, formats_, options, steps);
  memory_->activations = device.reserve(Memory::activation_bytes(model, R, formats_, options));
  Ops& ops = device.ops();
  ops.fill(memory_->tensors.values, 0.0f);
  if (options.training) {
    ops.fill(memory_->m, 0.0f), ops.fill(memory_->v, 0.0f), ops.fill(memory_->tensors.grads, 0.0f);
    const std::vector<int32_t> none(model.word->shape[0], 0);
    device.copy_in(memory_->last, none.data(), none.size() * sizeof(int32_t));
    std::vector<int32_t> all(none.size());
    std::iota(all.begin(), all.end(), 0);
    device.copy_in(memory_->all_rows, all.data(), all.size() * sizeof(int32_t));
  }
  for (int r = 0; r < R; ++r) {
    device.copy_in(memory_->seeds + r, &replicas_[r].seed, sizeof(uint64_t));
    float trained[4] = {0, 0, 0, 1};
    for (const Linear* linear : model.linears()) {
      std::fill_n(trained, 3, 0.0f);
      initial_trained(replicas_[r].formats[linear->index].x, trained);
      set(r, *linear->trained, trained);
    }
    if (!options.training) continue;
    const AdamWRow row = adamw_row(replicas_[r].schedule, memory_->table.beta1, memory_->table.beta2);
    const std::vector<float>* columns[] = {&row.rate, &row.inverse_root, &row.keep};
    for (int c = 0; c < 3; ++c)
      if (!columns[c]->empty())
        device.copy_in(memory_->table_data + (c * R + r) * steps, columns[c]->data(),
                       columns[c]->size() * sizeof(float));
  }
}

Session::~Session() = default;

void Session::initialise(int replica) {
  for (const Parameter& p : model_.parameters().all())
    if (!p.name.ends_with(".quantizer"))
      set(replica, p, initial_values(p, replicas_[replica].seed, model_.config().initializer_range));
}

void Session::set(int replica, const Parameter& p, std::span<const float> values) {
  check(static_cast<int64_t>(values.size()) == p.shape.size(), "{}: {} values for {}", p.name, values.size(),
        p.shape.size());
  if (p.sparse) catch_up();  // updates still owed belong to the values that go
  device_.copy_in(view(memory_->tensors.values, p).f32(replica), values.data(), values.size_bytes());
  weights_ready_ = false;
}

std::vector<float> Session::get(int replica, const Parameter& p) {
  if (p.sparse) catch_up();
  std::vector<float> values(p.shape.size());
  device_.copy_out(values.data(), view(memory_->tensors.values, p).f32(replica), values.size() * sizeof(float));
  return values;
}

std::vector<float> Session::gradient(int replica, const Parameter& p) {
  std::vector<float> values(p.shape.size(), 0.0f);
  if (!p.sparse) {
    device_.copy_out(values.data(), view(memory_->tensors.grads, p).f32(replica), values.size() * sizeof(float));
    return values;
  }
  const int64_t C = p.shape[1];
  for (size_t u = 0; u < last_tokens_.size(); ++u)
    device_.copy_out(values.data() + last_tokens_[u] * C, memory_->tensors.dword.f32(replica) + u * C,
                     C * sizeof(float));
  return values;
}

BertBatch Session::load(const Batch& batch) {
  memory_->activations.reset();
  return upload(&device_, memory_->activations, batch);
}

void Session::quantize_weights() {
  if (std::exchange(weights_ready_, true)) return;
  if (!memory_->weight_items.empty()) device_.ops().quantize_weights({memory_->weight_items});
}

void Session::catch_up() {
  if (!options_.training || std::exchange(caught_up_, true)) return;
  Ops& ops = device_.ops();
  device_.copy_in(memory_->step, &step_, sizeof(step_));
  ops.adamw_rows({.p = view(memory_->tensors.values, *model_.word),
                  .m = view(memory_->m, *model_.word),
                  .v = view(memory_->v, *model_.word),
                  .last = memory_->last,
                  .rows = memory_->all_rows,
                  .count = model_.word->shape[0],
                  .table = memory_->table,
                  .decay = true,
                  .step = memory_->step});
}

Session::StepResult Session::forward_backward(const Batch& batch) {
  check(options_.training, "a session without gradients cannot train");
  const BertBatch b = load(batch);
  segments_ = b.segments;
  Ops& ops = device_.ops();
  device_.copy_in(memory_->step, &step_, sizeof(step_));
  ops.adamw_rows({.p = view(memory_->tensors.values, *model_.word),
                  .m = view(memory_->m, *model_.word),
                  .v = view(memory_->v, *model_.word),
                  .last = memory_->last,
                  .rows = b.segments.tokens,
                  .count = b.segments.count,
                  .table = memory_->table,
                  .decay = true,
                  .step = memory_->step});
  for (const Linear* linear : model_.linears()) ops.fill(view(memory_->tensors.grads, *linear->trained), 0.0f);
  quantize_weights();
  Tape tape(ops, memory_->activations, replicas(), true);
  const Pass pass = run(tape, model_, memory_->tensors, formats_, b, {true, memory_->seeds, memory_->step}, true);
  if (formats_.weights_scaled()) ops.quantize_weights_grad({memory_->weight_items});
  ops.clip_norm({.flat = memory_->tensors.grads,
                 .ranges = memory_->ranges,
                 .rows = memory_->tensors.dword,
                 .limit = static_cast<float>(options_.clip),
                 .norm = memory_->norm,
                 .scale = memory_->scale});
  last_tokens_ = batch.segment_tokens;
  StepResult result{std::vector<float>(replicas()), std::vector<float>(replicas())};
  for (int r = 0; r < replicas(); ++r) {
    device_.copy_out(&result.loss[r], pass.loss.f32(r), sizeof(float));
    device_.copy_out(&result.norm[r], memory_->norm.f32(r), sizeof(float));
  }
  return result;
}

Session::StepResult Session::compute_gradients(const Batch& batch) { return forward_backward(batch); }

Session::StepResult Session::train_step(const Batch& batch) {
  StepResult result = forward_backward(batch);
  Ops& ops = device_.ops();
  ops.adamw({.p = memory_->tensors.values,
             .g = memory_->tensors.grads,
             .m = memory_->m,
             .v = memory_->v,
             .ranges = memory_->ranges,
             .scale = memory_->scale,
             .table = memory_->table,
             .step = memory_->step});
  ops.adamw_rows({.p = view(memory_->tensors.values, *model_.word),
                  .m = view(memory_->m, *model_.word),
                  .v = view(memory_->v, *model_.word),
                  .last = memory_->last,
                  .rows = segments_.tokens,
                  .count = segments_.count,
                  .g = memory_->tensors.dword,
                  .scale = memory_->scale,
                  .table = memory_->table,
                  .decay = true,
                  .step = memory_->step});
  ++step_;
  changed();
  return result;
}

std::vector<std::vector<float>> Session::logits(const Batch& batch) {
  catch_up();
  const BertBatch b = load(batch);
  quantize_weights();
  Tape tape(device_.ops(), memory_->activations, replicas(), false);
  BertTensors tensors = memory_->tensors;
  tensors.grads = {};
  const Pass pass = run(tape, model_, tensors, formats_, b, {}, false);
  std::vector<std::vector<float>> logits(replicas(), std::vector<float>(pass.logits->data.shape.size()));
  for (int r = 0; r < replicas(); ++r)
    device_.copy_out(logits[r].data(), pass.logits->data.f32(r), logits[r].size() * sizeof(float));
  return logits;
}

OptimizerState Session::optimizer_state(int replica) {
  catch_up();
  const int64_t size = model_.parameters().size();
  OptimizerState state{std::vector<float>(size), std::vector<float>(size), step_};
  device_.copy_out(state.m.data(), memory_->m.f32(replica), size * sizeof(float));
  device_.copy_out(state.v.data(), memory_->v.f32(replica), size * sizeof(float));
  return state;
}

void Session::restore(int replica, const OptimizerState& state) {
  const auto size = static_cast<size_t>(model_.parameters().size());
  check(state.m.size() == size && state.v.size() == size, "optimizer state of {} floats for {}", state.m.size(), size);
  device_.copy_in(memory_->m.f32(replica), state.m.data(), size * sizeof(float));
  device_.copy_in(memory_->v.f32(replica), state.v.data(), size * sizeof(float));
  step_ = state.step;
  changed();
  const std::vector<int32_t> last(model_.word->shape[0], static_cast<int32_t>(step_));
  device_.copy_in(memory_->last, last.data(), last.size() * sizeof(int32_t));
}

}  // namespace mpq
