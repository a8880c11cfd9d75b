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

double linear_flops(const Linear1& op) {
  return 2.0 * static_cast<double>(op.y.replicas) * static_cast<double>(op.x.rows()) *
         static_cast<double>(op.w.rows()) * static_cast<double>(op.w.cols());
}

double attention_flops(const Attention& op, Device& device) {
  std::vector<int32_t> keys(op.keys.sequences + 1), queries(keys.size());
  device.copy_out(keys.data(), op.keys.starts, keys.size() * sizeof(int32_t));
  device.copy_out(queries.data(), op.queries.starts, queries.size() * sizeof(int32_t));
  double pairs = 0;
  for (size_t b = 0; b + 1 < keys.size(); ++b)
    pairs += static_cast<double>(keys[b + 1] - keys[b]) * static_cast<double>(queries[b + 1] - queries[b]);
  return 4.0 * op.q.replicas * static_cast<double>(op.q.cols()) * pairs;
}

}  // namespace

std::unique_ptr<Replay> TimedDevice::replay() { return std::make_unique<Rerun>(); }

template <class Call>
void TimedOps::time(const std::string& name, double flops, Call call) {
  const double seconds = device_.seconds(call);
  Cost& cost = costs_[name];
  cost.seconds += seconds;
  cost.flops += flops;
  ++cost.calls;
}

void TimedOps::linear(std::span<const Linear1> problems) {
  double flops = 0;
  for (const Linear1& op : problems) flops += linear_flops(op);
  time(linear_name("linear", problems[0], problems.size()), flops, [&] { ops_.linear(problems); });
}

void TimedOps::linear_grad(std::span<const Linear1Grad> problems) {
  double flops = 0;
  for (const Linear1Grad& op : problems) flops += 2 * linear_flops(op.forward);
  time(linear_name("linear_grad", problems[0].forward, problems.size()), flops, [&] { ops_.linear_grad(problems); });
}

void TimedOps::attention(const Attention& op) {
  time(rows_name("attention", op.queries), attention_flops(op, device_), [&] { ops_.attention(op); });
}
void TimedOps::attention_grad(const AttentionGrad& op) {
  time(rows_name("attention_grad", op.forward.queries), 2 * attention_flops(op.forward, device_),
       [&] { ops_.attention_grad(op); });
}
void TimedOps::residual_norm(const ResidualNorm& op) {
  time(rows_name("residual_norm", op.ragged), 0, [&] { ops_.residual_norm(op); });
}
void TimedOps::residual_norm_grad(const ResidualNormGrad& op) {
  time(rows_name("residual_norm_grad", op.forward.ragged), 0, [&] { ops_.residual_norm_grad(op); });
}

void TimedOps::quantize_weights(const QuantizeWeights& op) {
  time("quantize_weights", 0, [&] { ops_.quantize_weights(op); });
}
void TimedOps::quantize_weights_grad(const QuantizeWeights& op) {
  time("quantize_weights_grad", 0, [&] { ops_.quantize_weights_grad(op); });
}
void TimedOps::quantize_grad(const QuantizeGrad& op) {
  time("quantize_grad", 0, [&] { ops_.quantize_grad(op); });
}
void TimedOps::quantize_copies(const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged) {
  time("quantize_copies", 0, [&] { ops_.quantize_copies(copies, x, ragged); });
}
void TimedOps::embed(const Embed& op) {
  time("embed", 0, [&] { ops_.embed(op); });
}
void TimedOps::embed_grad(const EmbedGrad& op) {
  time("embed_grad", 0, [&] { ops_.embed_grad(op); });
}
void TimedOps::select_first(const SelectFirst& op) {
  time("select_first", 0, [&] { ops_.select_first(op); });
}
void TimedOps::select_first_grad(const SelectFirstGrad& op) {
  time("select_first_grad", 0, [&] { ops_.select_first_grad(op); });
}
void TimedOps::cross_entropy(const CrossEntropy& op) {
  time("cross_entropy", 0, [&] { ops_.cross_entropy(op); });
}
void TimedOps::clip_norm(const ClipNorm& op) {
  time("clip_norm", 0, [&] { ops_.clip_norm(op); });
}
void TimedOps::adamw(const AdamW& op) {
  time("adamw", 0, [&] { ops_.adamw(op); });
}
void TimedOps::adamw_rows(const AdamWRows& op) {
  time(op.g ? "adamw_rows" : "adamw_rows catch-up", 0, [&] { ops_.adamw_rows(op); });
}
void TimedOps::add(const Tensor& from, const Tensor& to) {
  time("add", 0, [&] { ops_.add(from, to); });
}
void TimedOps::scatter_rows(const ScatterRows& op) {
  time("scatter_rows", 0, [&] { ops_.scatter_rows(op); });
}
void TimedOps::fill(const Tensor& t, float value) {
  time("fill", 0, [&] { ops_.fill(t, value); });
}
void TimedOps::prepare_batches(const PrepareBatches& op) {
  time("prepare_batches", 0, [&] { ops_.prepare_batches(op); });
}
size_t TimedOps::prepare_scratch(int64_t tokens) { return ops_.prepare_scratch(tokens); }
void TimedOps::load_batch(const LoadBatch& op) {
  time("load_batch", 0, [&] { ops_.load_batch(op); });
}
void TimedOps::end_step(const EndStep& op) { ops_.end_step(op); }  // timing may repeat, and it counts the step

}  // namespace mpq
