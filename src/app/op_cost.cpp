#include "app/op_cost.h"

#include <set>
#include <vector>

namespace mpq {
namespace {

template <class T>
T read_one(Device& device, const T* at) {
  T value;
  device.copy_out(&value, at, sizeof(T));
  return value;
}

double rows_of(Device& device, const Ragged& ragged) { return read_one(device, ragged.starts + ragged.sequences); }

double values_in(std::span<const ParameterRange> ranges) {
  double values = 0;
  for (const ParameterRange& range : ranges) values += static_cast<double>(range.end - range.begin);
  return values;
}

// Counts bytes; a tensor that problems share is read, and written, once.
class Traffic {
 public:
  Traffic& read(const Tensor& t, double rows) { return count(read_, t, rows); }
  Traffic& read(const Tensor& t) { return read(t, static_cast<double>(t.rows())); }
  Traffic& write(const Tensor& t, double rows) { return count(written_, t, rows); }
  Traffic& write(const Tensor& t) { return write(t, static_cast<double>(t.rows())); }
  Traffic& write(const QuantizedCopies& copies, double rows) {
    for (const QuantizedCopy& copy : copies) write(copy.xq, rows);
    return *this;
  }
  double bytes() const { return bytes_; }

 private:
  Traffic& count(std::set<const void*>& seen, const Tensor& t, double rows) {
    if (!t || !seen.insert(t.data).second) return *this;
    const int copies = t.replica_stride == 0 ? 1 : t.replicas;
    bytes_ += rows * static_cast<double>(t.cols()) * copies * (t.dtype == DType::bf16 ? 2 : 4);
    return *this;
  }

  std::set<const void*> read_, written_;
  double bytes_ = 0;
};

double product_flops(const Linear1& op, double rows) {
  if (!op.w) return 0;
  return 2.0 * op.y.replicas * rows * static_cast<double>(op.w.rows()) * static_cast<double>(op.w.cols());
}

// Two products: a multiply-add of each channel for every pair of a query and a key.
double attention_flops(Device& device, const Attention& op) {
  std::vector<int32_t> keys(op.keys.sequences + 1), queries(keys.size());
  device.copy_out(keys.data(), op.keys.starts, keys.size() * sizeof(int32_t));
  device.copy_out(queries.data(), op.queries.starts, queries.size() * sizeof(int32_t));
  double pairs = 0;
  for (size_t b = 0; b + 1 < keys.size(); ++b)
    pairs += static_cast<double>(keys[b + 1] - keys[b]) * static_cast<double>(queries[b + 1] - queries[b]);
  return 4.0 * op.q.replicas * static_cast<double>(op.q.cols()) * pairs;
}

}  // namespace

OpCost cost_of(Device& device, std::span<const Linear1> problems) {
  Traffic t;
  double flops = 0;
  for (const Linear1& op : problems) {
    const double rows = rows_of(device, op.ragged);
    flops += product_flops(op, rows);
    t.read(op.x, rows).read(op.w).read(op.bias).write(op.saved, rows).write(op.y, rows).write(op.quantized, rows);
  }
  return {flops, t.bytes()};
}

OpCost cost_of(Device& device, std::span<const Linear1Grad> problems) {
  Traffic t;
  double flops = 0;
  for (const Linear1Grad& op : problems) {
    const double rows = rows_of(device, op.forward.ragged);
    flops += product_flops(op.forward, rows) * ((op.dx ? 1 : 0) + (op.dw ? 1 : 0));
    t.read(op.dy, rows).read(op.input_saved, rows);
    if (op.dx) t.read(op.forward.w).write(op.dx, rows);
    if (op.dx && op.accumulate) t.read(op.dx, rows);
    if (op.dw) t.read(op.forward.x, rows).write(op.dw).write(op.dbias);
  }
  return {flops, t.bytes()};
}

OpCost cost_of(Device& device, const Attention& op) {
  const double keys = rows_of(device, op.keys), queries = rows_of(device, op.queries);
  Traffic t;
  t.read(op.q, queries).read(op.k, keys).read(op.v, keys);
  t.write(op.stats, queries).write(op.kept, queries).write(op.context, queries).write(op.quantized, queries);
  return {attention_flops(device, op), t.bytes()};
}

OpCost cost_of(Device& device, const AttentionGrad& op) {
  const Attention& forward = op.forward;
  const double keys = rows_of(device, forward.keys), queries = rows_of(device, forward.queries);
  Traffic t;
  t.read(forward.q, queries).read(forward.k, keys).read(forward.v, keys).read(forward.stats, queries);
  t.read(forward.kept, queries);
  t.read(op.dcontext, queries).write(op.dq, queries).write(op.dk, keys).write(op.dv, keys);
  return {2 * attention_flops(device, forward), t.bytes()};
}

OpCost cost_of(Device& device, const ResidualNorm& op) {
  const double rows = rows_of(device, op.ragged);
  Traffic t;
  t.read(op.y, rows).read(op.residual, rows).read(op.gamma).read(op.beta);
  t.write(op.sum, rows).write(op.mean, rows).write(op.rstd, rows).write(op.x, rows).write(op.quantized, rows);
  return {0, t.bytes()};
}

OpCost cost_of(Device& device, const ResidualNormGrad& op) {
  const double rows = rows_of(device, op.forward.ragged);
  Traffic t;
  t.read(op.dx, rows).read(op.forward.sum, rows).read(op.forward.mean, rows).read(op.forward.rstd, rows);
  t.read(op.forward.gamma).write(op.dy, rows).write(op.dresidual, rows).write(op.dgamma).write(op.dbeta);
  return {0, t.bytes()};
}

OpCost cost_of(Device& device, const Embed& op) {
  const double rows = rows_of(device, op.ragged);
  Traffic t;
  t.read(op.word, rows).read(op.position, rows).read(op.gamma).read(op.beta);
  t.write(op.sum, rows).write(op.mean, rows).write(op.rstd, rows).write(op.x, rows).write(op.quantized, rows);
  return {0, t.bytes() + rows * sizeof(int32_t)};
}

OpCost cost_of(Device& device, const EmbedGrad& op) {
  const double rows = rows_of(device, op.forward.ragged);
  Traffic t;
  t.read(op.dx, rows).read(op.forward.sum, rows).write(op.dx, rows).write(op.dposition).write(op.dtype);
  t.write(op.dword, read_one(device, op.segments.count)).write(op.dgamma).write(op.dbeta);
  return {0, t.bytes() + rows * sizeof(int32_t)};
}

OpCost cost_of(Device& device, const QuantizeGrad& op) {
  Traffic t;
  for (const QuantizeGrad::Item& item : op.items) {
    const double rows = rows_of(device, item.ragged);
    t.read(item.format.values, rows).read(item.format.dxq, rows).write(item.dtrained);
  }
  return {0, t.bytes()};
}

OpCost cost_of(Device& device, const QuantizedCopies& copies, const Tensor& x, const Ragged& ragged) {
  const double rows = rows_of(device, ragged);
  return {0, Traffic().read(x, rows).write(copies, rows).bytes()};
}

OpCost cost_of(const SelectFirst& op) {
  const double rows = op.ragged.sequences;
  return {0, Traffic().read(op.x, rows).read(op.xq, rows).write(op.y).write(op.yq).bytes()};
}

OpCost cost_of(Device& device, std::span<const Prune> ops) {
  Traffic t;
  const double rows = rows_of(device, ops[0].ragged);
  for (const Prune& op : ops) t.read(op.x, rows).write(op.threshold, rows).write(op.pruned, rows);
  return {0, t.bytes()};
}

OpCost cost_of(Device& device, std::span<const PruneGrad> ops) {
  Traffic t;
  const double rows = rows_of(device, ops[0].forward.ragged);
  for (const PruneGrad& op : ops) {
    t.read(op.forward.x, rows).read(op.forward.threshold, rows).read(op.dpruned, rows).write(op.dx, rows);
    if (op.accumulate) t.read(op.dx, rows);
  }
  return {0, t.bytes()};
}

OpCost cost_of(Device& device, const SelectFirstGrad& op) {
  if (op.accumulate)
    return {0, Traffic().read(op.dy).read(op.dx, op.ragged.sequences).write(op.dx, op.ragged.sequences).bytes()};
  return {0, Traffic().read(op.dy).write(op.dx, rows_of(device, op.ragged)).bytes()};
}

OpCost cost_of(const CrossEntropy& op) {
  return {0, Traffic().read(op.logits).write(op.dlogits).write(op.loss).bytes()};
}

OpCost cost_of(Device& device, const GatherRows& op) {
  const double rows = read_one(device, op.chosen.count());
  return {0, Traffic().read(op.x, rows).write(op.y, rows).bytes()};
}

OpCost cost_of(Device& device, const WideCrossEntropy& op, const Tensor& gradient) {
  const double rows = rows_of(device, op.ragged);
  return {0, Traffic().read(op.logits, rows).write(gradient, rows).bytes()};
}

OpCost cost_of(Device& device, const ClipNorm& op) {
  Traffic t;
  t.read(op.flat, values_in(op.ranges));
  if (op.rows) t.read(op.rows, read_one(device, op.row_count));
  return {0, t.bytes()};
}

OpCost cost_of(const AdamW& op) {
  Traffic t;
  const double n = values_in(op.ranges);
  t.read(op.p, n).read(op.g, n).read(op.m, n).read(op.v, n).write(op.p, n).write(op.m, n).write(op.v, n);
  return {0, t.bytes()};
}

OpCost cost_of(Device& device, const AdamWRows& op) {
  Traffic t;
  const double n = read_one(device, op.count);
  t.read(op.p, n).read(op.m, n).read(op.v, n).read(op.g, n).write(op.p, n).write(op.m, n).write(op.v, n);
  return {0, t.bytes()};
}

OpCost cost_of(const QuantizeWeights& op) {
  Traffic t;
  for (const QuantizeWeights::Item& item : op.items) {
    const auto rows = static_cast<double>(item.only.rows ? item.only.most : item.w.rows());
    t.read(item.w, rows).write(item.wq, rows);
  }
  return {0, t.bytes()};
}

OpCost grad_cost_of(const QuantizeWeights& op) {
  Traffic t;
  for (const QuantizeWeights::Item& item : op.items) {
    if (!item.input || !item.dw) continue;  // the gradient of any other weight is as it is
    t.read(item.w).read(item.dw).write(item.dw);
  }
  return {0, t.bytes()};
}

// Tokens are read and written; where they are put in order, their places are written too.
OpCost cost_of(const PrepareBatches& op) {
  return {0, static_cast<double>(op.tokens) * sizeof(int32_t) * (op.slots.order ? 3 : 2)};
}

OpCost cost_of(Device& device, const LoadBatch& op) {
  const BatchSlots from = op.slots.at(read_one(device, op.step) - read_one(device, op.first_step));
  const double tokens = read_one(device, from.starts + op.sequences),
               distinct = from.segment_count ? read_one(device, from.segment_count) : 0;
  return {0, 2 * sizeof(int32_t) * (tokens * (from.order ? 2 : 1) + 2 * distinct + 2.0 * op.sequences)};
}

OpCost cost_of(Device& device, const ScatterRows& op) {
  const double rows = read_one(device, op.count);
  return {0, Traffic().read(op.from, rows).write(op.to, rows).bytes()};
}

OpCost add_cost(const Tensor& from, const Tensor& to) { return {0, Traffic().read(from).read(to).write(to).bytes()}; }

OpCost fill_cost(const Tensor& t) { return {0, Traffic().write(t).bytes()}; }

}  // namespace mpq
