#include "app/timed_ops.h"

namespace mpq {
namespace {

std::string rows_name(const std::string& name, const Ragged& ragged) {
  return ragged.rows == ragged.sequences ? name + " cls" : name;
}

std::string linear_name(const std::string& name, const Linear1& first, size_t problems) {
  const std::string shape = fmt::format("{} {}{}x{}", name, problems > 1 ? fmt::format("{} of ", problems) : "",
                                        first.w.rows(), first.w.cols());
  return rows_name(shape, first.ragged);
}

}  // namespace

std::unique_ptr<Replay> TimedDevice::replay() { return std::make_unique<Rerun>(); }

template <class Call>
void TimedOps::time(const std::string& name, const OpCost& work, Call call) {
  const WorkTime time = device_.time(call);
  Cost& cost = costs_[name];
  ++cost.calls;
  cost.time.seconds += time.seconds;
  if (time.launches) cost.time.launches = cost.time.launches.value_or(0) + *time.launches;
  cost.work.flops += work.flops;
  cost.work.bytes += work.bytes;
}

void TimedOps::linear(std::span<const Linear1> problems) {
  time(linear_name("linear", problems[0], problems.size()), cost_of(device_, problems), [&] { ops_.linear(problems); });
}
void TimedOps::linear_grad(std::span<const Linear1Grad> problems) {
  time(linear_name("linear_grad", problems[0].forward, problems.size()), cost_of(device_, problems),
       [&] { ops_.linear_grad(problems); });
}

void TimedOps::activate(const Linear1& op) {
  time(rows_name("activate", op.ragged), cost_of(device_, std::span(&op, 1)), [&] { ops_.activate(op); });
}
void TimedOps::activate_grad(const Linear1Grad& op) {
  time(rows_name("activate_grad", op.forward.ragged), cost_of(device_, std::span(&op, 1)),
       [&] { ops_.activate_grad(op); });
}

void TimedOps::attention(const Attention& op) {
  time(rows_name("attention", op.queries), cost_of(device_, op), [&] { ops_.attention(op); });
}
void TimedOps::attention_grad(const AttentionGrad& op) {
  time(rows_name("attention_grad", op.forward.queries), cost_of(device_, op), [&] { ops_.attention_grad(op); });
}
void TimedOps::residual_norm(const ResidualNorm& op) {
  time(rows_name("residual_norm", op.ragged), cost_of(device_, op), [&] { ops_.residual_norm(op); });
}
void TimedOps::residual_norm_grad(const ResidualNormGrad& op) {
  time(rows_name("residual_norm_grad", op.forward.ragged), cost_of(device_, op), [&] { ops_.residual_norm_grad(op); });
}

void TimedOps::quantize_weights(const QuantizeWeights& op) {
  time("quantize_weights", cost_of(op), [&] { ops_.quantize_weights(op); });
}
void TimedOps::quantize_weights_grad(const QuantizeWeights& op) {
  time("quantize_weights_grad", grad_cost_of(op), [&] { ops_.quantize_weights_grad(op); });
}
void TimedOps::quantize_grad(const QuantizeGrad& op) {
  time("quantize_grad", cost_of(device_, op), [&] { ops_.quantize_grad(op); });
}
void TimedOps::quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged) {
  time("quantize_copies", cost_of(device_, copies, x, ragged), [&] { ops_.quantize_copies(copies, x, ragged); });
}
void TimedOps::embed(const Embed& op) {
  time("embed", cost_of(device_, op), [&] { ops_.embed(op); });
}
void TimedOps::embed_grad(const EmbedGrad& op) {
  time("embed_grad", cost_of(device_, op), [&] { ops_.embed_grad(op); });
}
void TimedOps::prune(std::span<const Prune> ops) {
  time(rows_name("prune", ops[0].ragged), cost_of(device_, ops), [&] { ops_.prune(ops); });
}
void TimedOps::prune_grad(std::span<const PruneGrad> ops) {
  time(rows_name("prune_grad", ops[0].forward.ragged), cost_of(device_, ops), [&] { ops_.prune_grad(ops); });
}
bool TimedOps::need_whole(const NeedWhole& op) {
  bool needed = true;
  time("need_whole", {}, [&] { needed = ops_.need_whole(op); });
  return needed;
}
void TimedOps::select_first(const SelectFirst& op) {
  time("select_first", cost_of(op), [&] { ops_.select_first(op); });
}
void TimedOps::select_first_grad(const SelectFirstGrad& op) {
  time("select_first_grad", cost_of(device_, op), [&] { ops_.select_first_grad(op); });
}
void TimedOps::cross_entropy(const CrossEntropy& op) {
  time("cross_entropy", cost_of(op), [&] { ops_.cross_entropy(op); });
}
void TimedOps::gather_rows(const GatherRows& op) {
  time("gather_rows", cost_of(device_, op), [&] { ops_.gather_rows(op); });
}
Tensor TimedOps::wide_cross_entropy(const WideCrossEntropy& op) {
  Tensor gradient;
  time("wide_cross_entropy", {}, [&] { gradient = ops_.wide_cross_entropy(op); });
  costs_["wide_cross_entropy"].work.bytes += cost_of(device_, op, gradient).bytes;
  return gradient;
}
void TimedOps::clip_norm(const ClipNorm& op) {
  time("clip_norm", cost_of(device_, op), [&] { ops_.clip_norm(op); });
}
void TimedOps::adamw(const AdamW& op) {
  time("adamw", cost_of(op), [&] { ops_.adamw(op); });
}
void TimedOps::adamw_rows(const AdamWRows& op) {
  time(op.g ? "adamw_rows" : "adamw_rows catch-up", cost_of(device_, op), [&] { ops_.adamw_rows(op); });
}
void TimedOps::add(const Tensor& from, const Tensor& to) {
  time("add", add_cost(from, to), [&] { ops_.add(from, to); });
}
void TimedOps::scatter_rows(const ScatterRows& op) {
  time("scatter_rows", cost_of(device_, op), [&] { ops_.scatter_rows(op); });
}
void TimedOps::fill(const Tensor& t, float value) {
  time("fill", fill_cost(t), [&] { ops_.fill(t, value); });
}
void TimedOps::apply_mask(const Tensor& mask, const Tensor& to) {
  time("apply_mask", add_cost(mask, to), [&] { ops_.apply_mask(mask, to); });
}
void TimedOps::prepare_batches(const PrepareBatches& op) {
  time("prepare_batches", cost_of(op), [&] { ops_.prepare_batches(op); });
}
size_t TimedOps::prepare_scratch(int64_t tokens) { return ops_.prepare_scratch(tokens); }
void TimedOps::load_batch(const LoadBatch& op) {
  time("load_batch", cost_of(device_, op), [&] { ops_.load_batch(op); });
}
void TimedOps::end_step(const EndStep& op) { ops_.end_step(op); }  // timing may repeat, and it counts the step

}  // namespace mpq
