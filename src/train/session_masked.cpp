// What a masked language model loses on texts that it is not trained on.
#include <utility>

#include "nn/loss.h"
#include "train/session_memory.h"

namespace mpq {

std::vector<double> Session::masked_loss(const Split& split, const std::function<void(int64_t)>& progress) {
  check(model_.head() == Head::masked_lm, "a classifier says nothing of masked tokens");
  if (!std::exchange(weights_ready_, true)) quantize_weights(), quantize_tables({});
  std::vector<double> sums(replicas(), 0.0);
  Feed feed(device_, split, StepOrder::sequential(split.row_count(), eval_rows()), kEvalWindow, false);
  int64_t rows = 0;
  for (int64_t step = 0; step < feed.end(); ++step) {
    const BatchSlots b = feed.batch(step);
    const int32_t B = feed.sequences(step);
    memory_->activations.reset();
    Tape tape(device_.ops(), memory_->activations, replicas(), false);
    BertTensors tensors = memory_->tensors;
    tensors.grads = {};
    const Tensor loss = training_loss(tape, model_, tensors, formats_,
                                      {.ragged = {b.starts, B, feed.tokens(step), options_.max_tokens},
                                       .single_rows = {memory_->single_starts, B, B, 1},
                                       .tokens = b.tokens,
                                       .labels = b.labels,
                                       .masked = masked_in(b, B, feed.masked(step)),
                                       .masked_tokens = b.masked_tokens,
                                       .numbers = b.rows},
                                      {.step = memory_->eval_step, .prune_seeds = memory_->prune_seeds});
    for (int r = 0; r < replicas(); ++r) {
      float mean = 0;
      device_.copy_out(&mean, loss.f32(r), sizeof(mean));
      sums[r] += static_cast<double>(mean) * static_cast<double>(feed.masked(step));
    }
    rows += B;
    if (progress) progress(rows);
  }
  return sums;
}

std::vector<std::vector<float>> Session::masked_logits(const Batch& batch) {
  check(model_.head() == Head::masked_lm, "a classifier says nothing of masked tokens");
  if (!std::exchange(weights_ready_, true)) quantize_weights(), quantize_tables({});
  BertTensors tensors = memory_->tensors;
  tensors.grads = {};
  const BertBatch b = load(batch);
  Tape tape(device_.ops(), memory_->activations, replicas(), false);
  const DropoutState draws{.step = memory_->eval_step, .prune_seeds = memory_->prune_seeds};
  const Tensor wide = masked_lm_logits(tape, model_, tensors, formats_, b, draws).x->data;
  const auto rows = read_logits(wide);
  const int64_t columns = wide.cols(), vocabulary = model_.config().vocabulary;
  std::vector<std::vector<float>> logits(rows.size());
  for (size_t r = 0; r < rows.size(); ++r)
    for (int64_t m = 0; m < wide.rows(); ++m)
      logits[r].insert(logits[r].end(), &rows[r][m * columns], &rows[r][m * columns] + vocabulary);
  return logits;
}

}  // namespace mpq
