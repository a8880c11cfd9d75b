// A step whose batch is summed as two halves: on one device one after the other, on two at once. A half is a record,
// the sum and the update follow it: the sum over devices stands between two records, so that it need not be recordable
// and the host exchange serves where there is no other.
#include "base/crew.h"
#include "train/session_memory.h"

namespace mpq {
namespace {

constexpr uint64_t kUpdate = 0;  // the update's record; those of halves have other keys

SessionOptions with_shard(SessionOptions options, int shard) {
  options.shards = 2;
  options.shard = shard;
  return options;
}

}  // namespace

Session::Session(Device& first, Device& second, const Bert& model, const Replica& replica, SessionOptions options)
    : Session(first, model, {replica}, with_shard(options, 0)) {
  partner_ = std::make_unique<Session>(second, model, std::vector{replica}, with_shard(options, 1));
  auto ends = first.exchange_with(second);
  exchange_ = std::move(ends[0]);
  partner_->exchange_ = std::move(ends[1]);
}

void Session::attach_shards(const Split& split, const StepOrder& order) {
  check(options_.shards == 2, "{} shards", options_.shards);
  step_rows_.clear();
  for (int64_t t = 0; t < order.steps(); ++t) step_rows_.push_back(order.first[t + 1] - order.first[t]);
  detach();
  for (int shard = 0; shard < options_.shards; ++shard)
    if (options_.shard < 0 || options_.shard == shard)
      feeds_.push_back(std::make_unique<Feed>(device_, split, order.half(shard), kWindow, true));
  if (partner_) partner_->attach_shards(split, order);
}

void Session::enqueue_shards(int64_t step) {
  const auto rows = static_cast<uint64_t>(step_rows_[step]);
  for (size_t feed = 0; feed < feeds_.size(); ++feed) {
    const BertBatch batch = buffers(*feeds_[feed], step);
    const bool rest = options_.shard < 0 ? feed == 1 : options_.shard == 1;
    const uint64_t first = rest ? (rows + 1) / 2 : 0;
    replay_->run((static_cast<uint64_t>(batch.ragged.rows) << 24 | rows) << 2 | (rest ? 2 : 1),
                 [&] { shard_gradient(feed, batch, static_cast<uint32_t>(first), static_cast<int64_t>(rows)); });
  }
  if (exchange_) exchange_->sum(memory_->shard_grads[0]);
  replay_->run(kUpdate, [&] { update_from_shards(); });
}

// The word embedding's rows take their places in the flat gradient, and the loss the place behind it: one sum over the
// devices serves all.
void Session::shard_gradient(size_t feed, const BertBatch& batch, uint32_t first, int64_t batch_rows) {
  Ops& ops = device_.ops();
  BertTensors tensors = memory_->tensors;
  tensors.grads = memory_->shard_grads[feed];
  if (batch.ragged.sequences == 0) return ops.fill(tensors.grads, 0.0f);
  load_batch(feed, batch);
  const Tensor word = view(tensors.grads, *model_.word);
  Tensor behind = word;
  behind.shape = {tensors.grads.shape.size() - model_.word->offset};
  ops.fill(behind, 0.0f);
  if (feed == 0) quantize_weights(), quantize_tables({});  // the same for the other half
  const Tensor loss = gradients(batch, tensors, first, batch_rows);
  if (tensors.dword)
    ops.scatter_rows({.from = tensors.dword, .rows = batch.segments.tokens, .count = batch.segments.count, .to = word});
  ops.add(loss, loss_in(tensors.grads));
}

void Session::update_from_shards() {
  const std::vector<Tensor>& grads = memory_->shard_grads;
  for (size_t i = 1; i < grads.size(); ++i) device_.ops().add(grads[i], grads[0]);
  clip({}, nullptr);
  adamw();
  end_step(loss_in(grads[0]));
}

Tensor Session::loss_in(const Tensor& grads) const {
  Tensor loss = grads;
  loss.data = grads.f32() + model_.parameters().size();
  loss.shape = {1};
  return loss;
}

std::vector<Session::StepResult> Session::steps_on_both(int64_t count) {
  std::vector<StepResult> results;
  Crew crew;
  crew.run(2, [&](size_t device) {
    try {
      auto mine = device == 0 ? steps(count) : partner_->steps(count);
      if (device == 0) results = std::move(mine);
    } catch (...) {
      exchange_->abandon();
      throw;
    }
  });
  return results;
}

}  // namespace mpq
