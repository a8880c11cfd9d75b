#include "train/session.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "base/text.h"
#include "nn/loss.h"
#include "train/initialise.h"
#include "train/session_memory.h"

namespace mpq {
namespace {

int64_t steps_of(const std::vector<Replica>& replicas) { return std::max<int64_t>(1, replicas[0].schedule.steps); }

}  // namespace

size_t Session::memory(const Device& device, const Bert& model, const std::vector<Replica>& replicas,
                       const SessionOptions& asked) {
  const FormatTable formats(model, formats_of(replicas), prunings_of(replicas));
  const SessionOptions options = Memory::with_eval_rows(device, model, formats, asked);
  return Memory::parameter_bytes(model, formats, options, steps_of(replicas)) +
         Memory::largest_activation_bytes(model, formats, options);
}

Session::Session(Device& device, const Bert& model, std::vector<Replica> replicas, const SessionOptions& options)
    : device_(device),
      model_(model),
      replicas_(std::move(replicas)),
      formats_(model, formats_of(replicas_), prunings_of(replicas_)),
      memory_(std::make_unique<Memory>()),
      replay_(device.replay()),
      masks_(replicas_.size()) {
  options_ = Memory::with_eval_rows(device, model, formats_, options);
  const int64_t steps = steps_of(replicas_);
  check(!options.one_model || (!options.training && !formats_.pruning().any() && !model.adapters),
        "replicas of one model are trained, pruned or adapted");
  for (const Replica& r : replicas_)
    check(std::max<int64_t>(1, r.schedule.steps) == steps, "replicas of {} and {} steps", r.schedule.steps, steps);
  reserve(steps);
  fill_tables(steps);
}

Session::~Session() {
  exchange_.reset();
  replay_.reset();  // before the memory that its records name
  device_.release(memory_->activations);
  device_.release(memory_->parameters);
}

// Computed before it is taken: too many replicas are the user's to mend.
void Session::reserve(int64_t steps) {
  const size_t parameters = Memory::parameter_bytes(model_, formats_, options_, steps);
  const size_t activations = Memory::largest_activation_bytes(model_, formats_, options_);
  const size_t needed = parameters + activations, free = device_.free_bytes();
  if (needed > free) {
    const auto fit = static_cast<int>(static_cast<double>(free) / static_cast<double>(needed) * replicas());
    throw UserError(
        fmt::format("{} replica(s) of this model need {}, and {} has {} free", replicas(), human_bytes(needed),
                    device_.describe(), human_bytes(free)),
        fit > 0 ? fmt::format("{} replica(s) fit", fit) : "a smaller --batch, --max-tokens or --model needs less");
  }
  memory_->parameters = device_.reserve(parameters);
  memory_->activations = device_.reserve(activations);
  memory_->allocate(memory_->parameters, model_, formats_, options_, steps);
}

void Session::fill_tables(int64_t steps) {
  Memory& m = *memory_;
  const auto copy = [&](void* to, const auto& from) {
    if (!from.empty()) device_.copy_in(to, from.data(), from.size() * sizeof(from[0]));
  };
  copy(m.specs, formats_.table());
  copy(m.prune_specs, formats_.pruning().table());
  formats_.place(m.specs, m.prune_specs);
  Ops& ops = device_.ops();
  Tensor values = m.tensors.values;
  values.replicas = parameter_sets();
  ops.fill(values, 0.0f);
  if (m.mask) ops.fill(m.mask, 1.0f);
  constexpr int64_t no_step = -1;  // what evaluation draws by
  device_.copy_in(m.eval_step, &no_step, sizeof(no_step));
  std::vector<int32_t> numbers(
      std::max<int64_t>(model_.word->shape[0], 1 + std::max(options_.batch_rows, eval_rows())));
  std::iota(numbers.begin(), numbers.end(), 0);
  device_.copy_in(m.single_starts, numbers.data(), (1 + std::max(options_.batch_rows, eval_rows())) * sizeof(int32_t));
  if (options_.training) {
    ops.fill(m.m, 0.0f), ops.fill(m.v, 0.0f), ops.fill(m.tensors.grads, 0.0f);
    for (const Tensor& grads : m.shard_grads) ops.fill(grads, 0.0f);
    const auto vocabulary = static_cast<int32_t>(model_.word->shape[0]);
    copy(m.last, std::vector<int32_t>(int64_t{vocabulary} * replicas(), 0));
    device_.copy_in(m.all_rows, numbers.data(), vocabulary * sizeof(int32_t));
    device_.copy_in(m.row_count, &vocabulary, sizeof(vocabulary));
    set_step(0);
  }
  for (int r = 0; r < replicas(); ++r) {
    device_.copy_in(m.seeds + r, &replicas_[r].seed, sizeof(uint64_t));
    device_.copy_in(m.prune_seeds + r, &replicas_[r].pruning.seed, sizeof(uint64_t));
    for (const Linear* linear : model_.linears()) {
      float trained[4] = {0, 0, 0, 1};
      const QuantSpec& x = replicas_[r].formats[linear->index].x;
      check(!options_.one_model || trained_count(x) == 0, "{} trains something of its replica's own", to_text(x));
      initial_trained(x, trained);
      set(r, *linear->trained, trained);
    }
    if (model_.adapters) set_adapters(r);
    if (!options_.training) continue;
    const AdamWRow row = adamw_row(replicas_[r].schedule, m.table.beta1, m.table.beta2);
    copy(m.table_data + r * steps, row.rate);
    copy(m.table_data + (replicas() + r) * steps, row.inverse_root);
    copy(m.table_data + (2 * replicas() + r) * steps, row.keep);
  }
}

void Session::set_adapters(int r) {
  const Lora& lora = replicas_[r].lora;
  check(lora.rank >= 0 && lora.rank <= model_.adapter_plan().most_rank, "an adapter of rank {}", lora.rank);
  const AdapterRank rank{lora.rank, lora.scale()};
  device_.copy_in(memory_->adapter_ranks + r, &rank, sizeof(rank));
  set(r, *model_.adapters, initial_adapters(model_, lora.rank, replicas_[r].seed));
}

void Session::initialise(int replica) {
  for (const Parameter& p : model_.parameters().all())
    if (!is_extra(p)) set(replica, p, initial_values(p, replicas_[replica].seed, model_.config().initializer_range));
}

void Session::initialise() {
  for (const Parameter& p : model_.parameters().all()) {
    if (is_extra(p)) continue;
    std::map<uint64_t, int> first_of_seed;
    for (int r = 0; r < parameter_sets(); ++r) {
      const auto [first, fresh] = first_of_seed.try_emplace(replicas_[r].seed, r);
      if (fresh)
        set(r, p, initial_values(p, replicas_[r].seed, model_.config().initializer_range));
      else
        copy(p, first->second, r);
    }
  }
}

// Within the device's memory: by way of the host, 64 replicas of a small model would be a gigabyte.
void Session::copy(const Parameter& p, int from, int to) {
  const Tensor values = view(memory_->tensors.values, p);
  device_.run_copy(values.f32(to), values.f32(from), p.room() * sizeof(float));
}

void Session::set(int replica, const Parameter& p, std::span<const float> values) {
  check(static_cast<int64_t>(values.size()) == p.shape.size(), "{}: {} values for {}", p.name, values.size(),
        p.shape.size());
  if (p.sparse) catch_up();  // updates still owed belong to the values that go
  device_.copy_in(view(memory_->tensors.values, p).f32(replica), values.data(), values.size_bytes());
  weights_ready_ = false;
  if (partner_) partner_->set(replica, p, values);
}

std::vector<float> Session::get(int replica, const Parameter& p) {
  if (p.sparse) catch_up();
  std::vector<float> values(p.shape.size());
  device_.copy_out(values.data(), view(memory_->tensors.values, p).f32(replica), values.size() * sizeof(float));
  return values;
}

std::vector<float> Session::gradient(int replica, const Parameter& p) {
  std::vector<float> values(p.shape.size(), 0.0f);
  if (!p.sparse || options_.shards > 1) {
    device_.copy_out(values.data(), view(memory_->tensors.grads, p).f32(replica), values.size() * sizeof(float));
    return values;
  }
  if (!memory_->tensors.dword) return values;
  const int64_t C = p.shape[1];
  for (size_t u = 0; u < last_tokens_.size(); ++u)
    device_.copy_out(values.data() + last_tokens_[u] * C, memory_->tensors.dword.f32(replica) + u * C,
                     C * sizeof(float));
  return values;
}

void Session::set_step(int64_t step) {
  step_ = step;
  device_.copy_in(memory_->step, &step_, sizeof(step_));
}

BertBatch Session::load(const Batch& batch) {
  check(batch.row_count() <= std::max(options_.batch_rows, eval_rows()), "a batch of {} rows", batch.row_count());
  memory_->activations.reset();
  return upload(&device_, memory_->activations, batch, memory_->single_starts, options_.max_tokens);
}

void Session::quantize_weights() {
  const auto items = formats_.weight_items(model_, memory_->tensors);
  if (!items.empty()) device_.ops().quantize_weights({items});
  mask(memory_->tensors.quantized);
}

void Session::quantize_tables(const QuantizeWeights::Rows& words) {
  const auto items = formats_.table_items(model_, memory_->tensors, words);
  if (!items.empty()) device_.ops().quantize_weights({.items = items, .at_once = true});
}

// Gradient empty: only catches up, to the update of the step at hand exclusive.
void Session::adamw_rows(const int32_t* rows, const int32_t* count, int64_t most, const Tensor& gradient) {
  Memory& m = *memory_;
  device_.ops().adamw_rows({.p = view(m.tensors.values, *model_.word),
                            .m = view(m.m, *model_.word),
                            .v = view(m.v, *model_.word),
                            .last = m.last,
                            .rows = rows,
                            .count = count,
                            .most = most,
                            .g = gradient,
                            .scale = gradient ? m.scale : Tensor{},
                            .table = m.table,
                            .decay = true,
                            .step = m.step});
}

void Session::catch_up() {
  if (!options_.training || !word_by_rows() || std::exchange(caught_up_, true)) return;
  adamw_rows(memory_->all_rows, memory_->row_count, model_.word->shape[0], {});
}

// The rows of the word embedding that the step reads are brought up to date, those of its tokens; or all, where its
// format looks at all of them.
void Session::tables_of_step(const BertBatch& batch) {
  const QuantizeWeights::Rows rows =
      formats_.words_together()
          ? QuantizeWeights::Rows{memory_->all_rows, memory_->row_count, model_.word->shape[0]}
          : QuantizeWeights::Rows{batch.segments.tokens, batch.segments.count, batch.segments.most};
  if (word_by_rows()) adamw_rows(rows.rows, rows.count, rows.most, {});
  quantize_tables(rows);
}

// Everything of a step up to the clipped gradient. Returns the loss [1].
Tensor Session::forward_backward(const BertBatch& batch) {
  check(options_.training && options_.shards == 1, "a session in shards trains by train_steps only");
  quantize_weights();
  tables_of_step(batch);
  const Tensor loss = gradients(batch, memory_->tensors, 0, 0);
  clip(word_by_rows() ? memory_->tensors.dword : Tensor{}, batch.segments.count);
  return loss;
}

Tensor Session::gradients(const BertBatch& batch, BertTensors& tensors, uint32_t first, int64_t batch_rows) {
  Memory& m = *memory_;
  Ops& ops = device_.ops();
  Tape tape(ops, m.activations, replicas(), true);
  tensors.dword = word_trained() ? tape.tensor({batch.segments.most, model_.config().hidden}) : Tensor{};
  const Tensor loss =
      training_loss(tape, model_, tensors, formats_, batch, {true, m.seeds, m.step, first, m.prune_seeds}, batch_rows);
  if (formats_.weights_scaled())
    tape.after_linears([&] {
      const auto items = formats_.weight_grad_items(model_, tensors);
      if (!items.empty()) ops.quantize_weights_grad({items});
    });
  tape.backward();
  return loss;
}

// Beside the flat gradients: the word embedding's compact rows, or nothing.
void Session::clip(const Tensor& rows, const int32_t* row_count) {
  Memory& m = *memory_;
  mask(m.tensors.grads);
  device_.ops().clip_norm({.flat = m.tensors.grads,
                           .ranges = m.ranges,
                           .rows = rows,
                           .row_count = row_count,
                           .limit = static_cast<float>(options_.clip),
                           .norm = m.norm,
                           .scale = m.scale});
}

void Session::adamw() {
  Memory& m = *memory_;
  if (m.ranges.empty()) return;
  device_.ops().adamw({.p = m.tensors.values,
                       .g = m.tensors.grads,
                       .m = m.m,
                       .v = m.v,
                       .ranges = m.ranges,
                       .scale = m.scale,
                       .table = m.table,
                       .step = m.step});
}

void Session::update(const BertBatch& batch) {
  adamw();
  if (word_by_rows())
    adamw_rows(batch.segments.tokens, batch.segments.count, batch.segments.most, memory_->tensors.dword);
}

Session::StepResult Session::result(const Tensor& loss) {
  StepResult result{std::vector<float>(replicas()), std::vector<float>(replicas())};
  for (int r = 0; r < replicas(); ++r) {
    device_.copy_out(&result.loss[r], loss.f32(r), sizeof(float));
    device_.copy_out(&result.norm[r], memory_->norm.f32(r), sizeof(float));
  }
  return result;
}

Session::StepResult Session::compute_gradients(const Batch& batch) {
  last_tokens_ = batch.segment_tokens;
  return result(forward_backward(load(batch)));
}

Session::StepResult Session::train_step(const Batch& batch) {
  const BertBatch b = load(batch);
  last_tokens_ = batch.segment_tokens;
  StepResult numbers = result(forward_backward(b));
  update(b);
  set_step(step_ + 1);
  changed();
  return numbers;
}

void Session::attach(const Split& split, StepOrder order, int64_t first_step) {
  const auto targets = static_cast<int64_t>(split.targets.size());
  check(targets == 0 || targets == split.row_count() * model_.config().classes, "{} soft targets for {} rows", targets,
        split.row_count());
  if (options_.shards > 1) return attach_shards(split, order);
  detach();
  feeds_.push_back(std::make_unique<Feed>(device_, split, std::move(order), kWindow, true, first_step));
}

// Before the next data set takes the memory of the one that is there: records read from that.
void Session::detach() {
  if (feeds_.empty()) return;
  replay_ = device_.replay();
  records_.clear();
  feeds_.clear();
}

// The step's own place in memory, as large as the bucket of its tokens.
BertBatch Session::buffers(const Feed& feed, int64_t step) const {
  const BatchSlots& b = memory_->batch;
  const int32_t sequences = feed.sequences(step);
  const int64_t rows = std::min(device_.bucket(feed.tokens(step)), int64_t{sequences} * options_.max_tokens);
  return {.ragged = {b.starts, sequences, rows, options_.max_tokens},
          .single_rows = {memory_->single_starts, sequences, sequences, 1},
          .tokens = b.tokens,
          .segments = {b.segment_tokens, b.segment_starts, b.order, b.segment_count,
                       std::min<int64_t>(rows, model_.config().vocabulary)},
          .labels = b.labels,
          .soft = {feed.targets(), b.rows},
          .masked = masked_in(b, sequences, device_.bucket(feed.masked(step))),
          .masked_tokens = b.masked_tokens};
}

ChosenRows Session::masked_in(const BatchSlots& b, int32_t sequences, int64_t rows) const {
  if (model_.head() == Head::classifier) return {};
  const int64_t most = int64_t{sequences} * options_.masked_tokens;
  return {.ragged = {b.masked_starts, sequences, std::min(rows, most), std::max(2, options_.masked_tokens)},
          .rows = b.masked_rows};
}

// From a feed's slots to where the step reads it.
void Session::load_batch(size_t feed, const BertBatch& batch) {
  device_.ops().load_batch({.slots = feeds_[feed]->slots(),
                            .to = memory_->batch,
                            .step = memory_->step,
                            .first_step = feeds_[feed]->first_in_slots(),
                            .sequences = batch.ragged.sequences});
  memory_->activations.reset();
}

void Session::end_step(const Tensor& loss) {
  device_.ops().end_step(
      {.loss = loss, .norm = memory_->norm, .history = memory_->history, .slots = kWindow, .step = memory_->step});
}

void Session::enqueue_step(int64_t step) {
  if (options_.shards > 1) return enqueue_shards(step);
  const BertBatch batch = buffers(*feeds_[0], step);
  const std::array shape{batch.ragged.rows, int64_t{batch.ragged.sequences}, batch.masked.ragged.rows};
  const uint64_t key = records_.try_emplace(shape, records_.size()).first->second;
  replay_->run(key, [&] {
    load_batch(0, batch);
    const Tensor loss = forward_backward(batch);
    update(batch);
    end_step(loss);
  });
}

std::vector<Session::StepResult> Session::train_steps(int64_t count) {
  check(!feeds_.empty() && step_ >= feeds_[0]->first_step() && step_ + count <= feeds_[0]->end(),
        "{} steps from {} of the attached data", count, step_);
  return partner_ ? steps_on_both(count) : steps(count);
}

std::vector<Session::StepResult> Session::steps(int64_t count) {
  std::vector<StepResult> results;
  for (const int64_t end = step_ + count; step_ < end;) {
    const int64_t first = step_, last = std::min(end, (first / kWindow + 1) * kWindow);
    for (const auto& feed : feeds_) feed->prepare(first);
    for (; step_ < last; ++step_) {
      if (step_ % kWindow == 0) catch_up();
      enqueue_step(step_);
      changed();
    }
    read_history(first, last, results);
  }
  return results;
}

void Session::read_history(int64_t first, int64_t last, std::vector<StepResult>& results) {
  std::vector<float> numbers((last - first) * replicas() * 2);
  device_.copy_out(numbers.data(), memory_->history + first % kWindow * replicas() * 2, numbers.size() * sizeof(float));
  for (const float* at = numbers.data(); first < last; ++first) {
    StepResult& result = results.emplace_back();
    for (int r = 0; r < replicas(); ++r, at += 2) result.loss.push_back(at[0]), result.norm.push_back(at[1]);
  }
}

// Logits of a batch, [B, classes]; the weights are quantized once after each change.
Tensor Session::forward(const BertBatch& batch, const Tape::Observer& observer) {
  if (!std::exchange(weights_ready_, true)) quantize_weights(), quantize_tables({});
  Tape tape(device_.ops(), memory_->activations, replicas(), false);
  tape.observe(observer);
  BertTensors tensors = memory_->tensors;
  tensors.grads = {};
  return mpq::forward(tape, model_, tensors, formats_, batch,
                      {.step = memory_->eval_step, .prune_seeds = memory_->prune_seeds})
      ->data;
}

std::vector<std::vector<float>> Session::read_logits(const Tensor& logits) {
  std::vector<std::vector<float>> values(replicas(), std::vector<float>(logits.shape.size()));
  for (int r = 0; r < replicas(); ++r)
    device_.copy_out(values[r].data(), logits.f32(r), values[r].size() * sizeof(float));
  return values;
}

std::vector<std::vector<float>> Session::logits(const Batch& batch) {
  catch_up();
  return read_logits(forward(load(batch)));
}

std::vector<std::vector<float>> Session::logits(const Split& split, const std::function<void(int64_t)>& progress) {
  catch_up();
  const int64_t rows = split.row_count(), classes = model_.config().classes;
  Feed feed(device_, split, StepOrder::sequential(rows, eval_rows()), kEvalWindow, false);
  const DeviceMemory memory(device_, replicas() * (rows * classes + 16) * sizeof(float));
  Arena arena = memory.arena();
  const Tensor all = arena.tensor({rows, classes}, replicas());
  for (int64_t step = 0, row = 0; step < feed.end(); ++step) {
    const BatchSlots b = feed.batch(step);
    const int32_t B = feed.sequences(step);
    memory_->activations.reset();
    const Ragged single{memory_->single_starts, B, B, 1};
    const Tensor some = forward({.ragged = {b.starts, B, feed.tokens(step), options_.max_tokens},
                                 .single_rows = single,
                                 .tokens = b.tokens,
                                 .labels = b.labels,
                                 .numbers = b.rows});
    Tensor place = all;
    place.data = all.f32() + row * classes;
    place.shape = {B, classes};
    device_.ops().select_first({.ragged = single, .x = some, .y = place});  // of single rows: a copy
    row += B;
    if (progress) progress(row);
  }
  return read_logits(all);
}

void Session::observe(const Batch& batch, const SeeInput& see) {
  catch_up();
  forward(load(batch), [&](std::span<const Linear1> problems) {
    for (const Linear1& problem : problems)
      for (const Linear* linear : model_.linears()) {
        if (problem.w.data != view(memory_->tensors.values, *linear->weight).data) continue;
        std::vector<float> x(problem.x.shape.size());
        device_.copy_out(x.data(), problem.x.f32(), x.size() * sizeof(float));
        see(*linear, x);
      }
  });
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
  set_step(state.step);
  changed();
  const std::vector<int32_t> last(model_.word->shape[0] * replicas(), static_cast<int32_t>(step_));
  device_.copy_in(memory_->last, last.data(), last.size() * sizeof(int32_t));
  if (partner_) partner_->restore(replica, state);
}

}  // namespace mpq
