#include "autograd/ops.h"

#include <algorithm>

#include "quant/spec.h"

namespace mpq {

void plan_for(QuantSlot& slot, const QuantSpec& spec) {
  slot.over_sequence |= reach(spec, Role::activation) == Reach::sequence;
  slot.tiles_over_rows |= tile_reach(spec) == Reach::sequence;
  slot.elementwise &= reach(spec, Role::activation) == Reach::element;
  slot.surveys = std::max(slot.surveys, surveys(spec));
}

CopyPlan plan_copies(Tape& tape, std::span<const Reader> readers, Tensor x, int rank) {
  CopyPlan plan;
  plan.copies.features_rank = rank;
  for (size_t i = 0; i < readers.size(); ++i) {
    const QuantSlot& slot = readers[i].slot;
    if (!slot) {
      plan.read[i] = x;
      continue;
    }
    for (size_t k = 0; k < i; ++k)
      if (readers[k].slot.specs == slot.specs) plan.read[i] = plan.read[k];
    if (plan.read[i]) continue;
    plan.read[i] = tape.tensor(x.shape);
    plan.copies.add({slot, plan.read[i], readers[i].whole});
  }
  return plan;
}

Features embed(Tape& tape, const EmbedTerms& terms, const Ragged& ragged, const int32_t* tokens,
               const TokenSegments& segments, const Dropout& dropout, std::span<const Reader> readers) {
  const int64_t T = ragged.rows, C = terms.gamma.shape[0];
  Var x = tape.var({T, C});
  const CopyPlan plan = plan_copies(tape, readers, x->data, 3);
  const Embed forward{.ragged = ragged,
                      .tokens = tokens,
                      .word = terms.word,
                      .position = terms.position,
                      .type = terms.type,
                      .gamma = terms.gamma,
                      .beta = terms.beta,
                      .epsilon = terms.epsilon,
                      .dropout = dropout,
                      .sum = tape.tensor({T, C}),
                      .mean = tape.tensor({T}),
                      .rstd = tape.tensor({T}),
                      .x = x->data,
                      .quantized = plan.copies};
  tape.ops().embed(forward);
  x->wants_grad = terms.dword || terms.dposition || terms.dtype || terms.dgamma;
  tape.record(x, [=, &tape] {
    tape.linears_have_gradients();
    tape.ops().embed_grad({.forward = forward,
                           .segments = segments,
                           .dx = tape.grad_of(x),
                           .dword = terms.dword,
                           .dposition = terms.dposition,
                           .dtype = terms.dtype,
                           .dgamma = terms.dgamma,
                           .dbeta = terms.dbeta});
  });
  return {x, plan.read, ragged, 3};
}

namespace {

// The gradient of what a GELU or tanh made passes its slope in the product that makes it, where that product is alone.
void take_slope(const Features& x, std::vector<Linear1Grad>& grads) {
  if (x.x->activation == Activation::none || grads.size() != 1 || !grads[0].dx || grads[0].accumulate) return;
  if (grads[0].forward.adapter) return;  // adds to dx behind the product
  grads[0].input_activation = x.x->activation;
  grads[0].input_saved = x.x->saved;
  x.x->slope_applied = true;
}

// Where a quantizer's gradient stands between a Linear and what it read.
InputFormat input_format(Tape& tape, const Features& x, const Reader& reader) {
  if (reader.identity_gradient) return {};
  const InputFormat format{reader.slot, x.x->data, tape.tensor(x.x->data.shape)};
  if (reader.dtrained) tape.train_format({x.ragged, format, reader.dtrained});
  return format;
}

// A quantizer of the input that trains has its gradient from the input's.
bool wants_input_grad(const Features& x, const LinearTerms& terms) {
  return x.x->wants_grad || bool(terms.input.dtrained);
}

void record_linear_grads(Tape& tape, std::vector<Features> xs, std::vector<Linear1> forwards,
                         std::vector<LinearTerms> terms, std::vector<Var> results) {
  Var any = results[0];  // one that wants its gradient, if there is one
  for (size_t i = 0; i < forwards.size(); ++i) {
    results[i]->wants_grad =
        wants_input_grad(xs[i], terms[i]) || terms[i].dw || terms[i].dbias || terms[i].adapter.dvalues;
    if (results[i]->wants_grad) any = results[i];
  }
  tape.record(any, [=, &tape] {
    std::vector<Linear1Grad> grads;
    for (size_t i = 0; i < forwards.size(); ++i) {
      if (!results[i]->wants_grad) continue;
      Tape::GradTarget target{};  // Linears of one input add to it in their order
      if (wants_input_grad(xs[i], terms[i])) target = tape.grad_target(xs[i].x);
      grads.push_back({.forward = forwards[i],
                       .dy = tape.grad_of(results[i]),
                       .input_format = target.grad ? input_format(tape, xs[i], terms[i].input) : InputFormat{},
                       .dx = target.grad,
                       .accumulate = target.accumulate,
                       .dw = terms[i].dw,
                       .dbias = terms[i].dbias,
                       .dlow = terms[i].adapter ? tape.tensor(forwards[i].adapter.low.shape) : Tensor{},
                       .dadapter = terms[i].adapter.dvalues});
      if (results[i]->slope_applied) grads.back().forward.activation = Activation::none;
    }
    take_slope(xs[0], grads);
    tape.ops().linear_grad(grads);
  });
}

// It reads the input as it is before any format.
Adapter adapter_of(Tape& tape, const Tensor& x, const AdapterTerms& terms) {
  if (!terms) return {};
  return {.values = terms.values,
          .begin = terms.begin,
          .ranks = terms.ranks,
          .x = x,
          .dropout = terms.dropout,
          .dropped = terms.dropout.p > 0 ? tape.tensor(x.shape) : x,
          .low = tape.tensor({x.rows(), terms.most_rank})};
}

Linear1 forward_of(Tape& tape, const Features& x, int reader, const LinearTerms& terms, Tensor y) {
  return {.ragged = x.ragged,
          .x = x.read[reader],
          .w = terms.w,
          .bias = terms.bias,
          .y_format = terms.output,
          .y_rank = x.rank,
          .adapter = adapter_of(tape, x.x->data, terms.adapter),
          .y = y};
}

// x itself, or what activation and dropout make of it.
Features identity(Tape& tape, const Features& x, const LinearOptions& options) {
  if (options.activation == Activation::none && options.dropout.p <= 0) {
    check(options.readers.empty(), "an identity's output has the readers of its input");
    Var y = tape.borrow(x.x);
    tape.record(y, [=, &tape] { tape.pass_grad(y, x.x); });
    return {y, {}, x.ragged, x.rank};
  }
  Var y = tape.var(x.x->data.shape);
  const CopyPlan plan = plan_copies(tape, options.readers, y->data, x.rank);
  const bool saves = tape.recording() && options.activation != Activation::none;
  const Linear1 forward{.ragged = x.ragged,
                        .x = x.x->data,
                        .activation = options.activation,
                        .dropout = options.dropout,
                        .saved = saves ? tape.tensor(y->data.shape) : Tensor{},
                        .y = y->data,
                        .quantized = plan.copies};
  tape.ops().activate(forward);
  if (options.dropout.p <= 0) y->activation = options.activation, y->saved = forward.saved;
  y->wants_grad = x.x->wants_grad;
  tape.record(y, [=, &tape] {
    const Tensor dy = tape.grad_of(y);
    if (!y->slope_applied) tape.ops().activate_grad({.forward = forward, .dy = dy});
    tape.pass_grad(y, x.x);
  });
  return {y, plan.read, x.ragged, x.rank};
}

}  // namespace

Features linear(Tape& tape, const Features& x, int reader, const LinearTerms& terms, const LinearOptions& options) {
  if (!terms.w) return identity(tape, x, options);
  Var y = tape.var({x.x->data.rows(), terms.w.rows()});
  const CopyPlan plan = plan_copies(tape, options.readers, y->data, x.rank);
  Linear1 forward = forward_of(tape, x, reader, terms, y->data);
  forward.activation = options.activation;
  forward.dropout = options.dropout;
  forward.quantized = plan.copies;
  if (tape.recording() && options.activation != Activation::none) forward.saved = tape.tensor(y->data.shape);
  tape.run({&forward, 1});
  if (options.dropout.p <= 0) y->activation = options.activation, y->saved = forward.saved;
  record_linear_grads(tape, {x}, {forward}, {terms}, {y});
  return {y, plan.read, x.ragged, x.rank};
}

std::vector<Var> linears(Tape& tape, std::span<const LinearInput> inputs, std::span<const LinearTerms* const> terms) {
  std::vector<Features> xs;
  std::vector<Linear1> forwards;
  std::vector<LinearTerms> all;
  std::vector<Var> results, products;
  for (size_t i = 0; i < terms.size(); ++i) {
    const Features& x = inputs[i].x;
    if (!terms[i]->w) {
      results.push_back(identity(tape, x, {}).x);
      continue;
    }
    xs.push_back(x);
    results.push_back(tape.var({x.x->data.rows(), terms[i]->w.rows()}));
    products.push_back(results[i]);
    forwards.push_back(forward_of(tape, x, inputs[i].reader, *terms[i], results[i]->data));
    all.push_back(*terms[i]);
  }
  if (forwards.empty()) return results;
  tape.run(forwards);
  record_linear_grads(tape, std::move(xs), std::move(forwards), std::move(all), products);
  return results;
}

std::vector<Features> prune(Tape& tape, const Features& x, std::span<const PruneTerms> terms) {
  std::vector<Prune> forwards;
  std::vector<Features> results;
  const Shape shape = x.x->data.shape;
  for (const PruneTerms& t : terms) {
    const Var pruned = tape.var(shape);
    pruned->wants_grad = x.x->wants_grad;
    results.push_back({pruned, {}, x.ragged, x.rank});
    forwards.push_back({.ragged = x.ragged,
                        .slot = t.slot,
                        .draw = t.draw,
                        .numbers = t.numbers,
                        .x = x.x->data,
                        .threshold = tape.tensor({shape[0]}),
                        .batch_threshold = t.over_batch ? tape.tensor({1}) : Tensor{},
                        .pruned = pruned->data});
  }
  tape.ops().prune(forwards);
  for (size_t i = 0; i < terms.size(); ++i) results[i] = read_again(tape, results[i], {&terms[i].reader, 1}, x.rank);
  tape.record(results[0].x, [=, &tape] {
    std::vector<PruneGrad> grads;
    for (size_t i = 0; i < forwards.size(); ++i) {
      const Tensor dpruned = tape.grad_of(results[i].x);
      const auto target = tape.grad_target(x.x);
      grads.push_back({forwards[i], dpruned, target.grad, target.accumulate});
    }
    tape.ops().prune_grad(grads);
  });
  return results;
}

Features attention(Tape& tape, const AttentionInputs& in, const Dropout& dropout, std::span<const Reader> readers) {
  const Shape shape = in.q->data.shape;
  Var context = tape.var(shape);
  const CopyPlan plan = plan_copies(tape, readers, context->data, 3);
  const Shape bits = kept_shape(in.keys, in.queries, in.heads);
  const Tensor kept = dropout.p > 0 ? tape.arena().tensor(bits, tape.replicas(), DType::i32) : Tensor{};
  const Attention forward{.keys = in.keys,
                          .queries = in.queries,
                          .heads = in.heads,
                          .q = in.q->data,
                          .k = in.k->data,
                          .v = in.v->data,
                          .dropout = dropout,
                          .stats = tape.tensor({shape[0], in.heads, 2}),
                          .kept = kept,
                          .context = context->data,
                          .quantized = plan.copies};
  tape.ops().attention(forward);
  context->wants_grad = in.q->wants_grad || in.k->wants_grad || in.v->wants_grad;
  tape.record(context, [=, &tape] {
    tape.train_formats();
    // q, k and v have no other consumer: their gradients are set, never added to.
    tape.ops().attention_grad({.forward = forward,
                               .dcontext = tape.grad_of(context),
                               .dq = tape.grad_target(in.q).grad,
                               .dk = tape.grad_target(in.k).grad,
                               .dv = tape.grad_target(in.v).grad});
  });
  return {context, plan.read, in.queries, 3};
}

Features residual_norm(Tape& tape, Var y, Var residual, const Ragged& ragged, const NormTerms& terms,
                       const Dropout& dropout, std::span<const Reader> readers, int rank) {
  const Shape shape = y->data.shape;
  Var x = tape.var(shape);
  const CopyPlan plan = plan_copies(tape, readers, x->data, rank);
  const ResidualNorm forward{.ragged = ragged,
                             .y = y->data,
                             .residual = residual ? residual->data : Tensor{},
                             .gamma = terms.gamma,
                             .beta = terms.beta,
                             .epsilon = terms.epsilon,
                             .dropout = dropout,
                             .sum = y->borrowed ? tape.tensor(shape) : y->data,
                             .mean = tape.tensor({shape[0]}),
                             .rstd = tape.tensor({shape[0]}),
                             .x = x->data,
                             .quantized = plan.copies};
  tape.ops().residual_norm(forward);
  x->wants_grad = y->wants_grad || (residual && residual->wants_grad) || terms.dgamma;
  tape.record(x, [=, &tape] {
    // The last consumer of y and the last of the residual in forward order: both gradients are set here.
    tape.ops().residual_norm_grad({.forward = forward,
                                   .dx = tape.grad_of(x),
                                   .dy = tape.grad_target(y).grad,
                                   .dresidual = residual ? tape.grad_target(residual).grad : Tensor{},
                                   .dgamma = terms.dgamma,
                                   .dbeta = terms.dbeta});
  });
  return {x, plan.read, ragged, rank};
}

Features select_first(Tape& tape, const Features& x, const Ragged& single_rows) {
  const int64_t B = single_rows.rows, C = x.x->data.cols();
  Var first = tape.var({B, C});
  Features result{first, {first->data}, single_rows, x.rank};
  const bool quantized = x.read[0] && x.read[0].data != x.x->data.data;
  if (quantized) result.read[0] = tape.tensor({B, C});
  tape.ops().select_first({.ragged = x.ragged,
                           .x = x.x->data,
                           .y = first->data,
                           .xq = quantized ? x.read[0] : Tensor{},
                           .yq = quantized ? result.read[0] : Tensor{}});
  first->wants_grad = x.x->wants_grad;
  tape.record(first, [=, &tape] {
    const auto target = tape.grad_target(x.x);
    tape.ops().select_first_grad(
        {.ragged = x.ragged, .dy = tape.grad_of(first), .dx = target.grad, .accumulate = target.accumulate});
  });
  return result;
}

Features gather_rows(Tape& tape, const Features& x, const ChosenRows& chosen) {
  Var y = tape.var({chosen.ragged.rows, x.x->data.cols()});
  tape.ops().gather_rows({chosen, x.x->data, y->data});
  y->wants_grad = x.x->wants_grad;
  tape.record(y, [=, &tape] {
    const auto target = tape.grad_target(x.x);
    if (!target.accumulate) tape.ops().fill(target.grad, 0.0f);
    tape.ops().scatter_rows({.from = tape.grad_of(y),
                             .rows = chosen.rows,
                             .count = chosen.count(),
                             .to = target.grad,
                             .accumulate = target.accumulate});
  });
  return {y, {y->data, y->data, y->data}, chosen.ragged, x.rank};
}

Features read_again(Tape& tape, const Features& x, std::span<const Reader> readers, int rank) {
  const CopyPlan plan = plan_copies(tape, readers, x.x->data, rank);
  tape.ops().quantize_copies(plan.copies, x.x->data, x.ragged);
  return {x.x, plan.read, x.ragged, rank};
}

Tensor cross_entropy(Tape& tape, Var logits, const int32_t* labels, const SoftTargets& soft, int64_t batch_rows) {
  const Tensor loss = tape.tensor({1});
  const Tensor dlogits = tape.recording() ? tape.grad_target(logits).grad : Tensor{};
  tape.ops().cross_entropy({.logits = logits->data,
                            .dlogits = dlogits,
                            .labels = labels,
                            .soft = soft,
                            .loss = loss,
                            .batch_rows = batch_rows});
  return loss;
}

Tensor wide_cross_entropy(Tape& tape, const Features& logits, int64_t classes, const int32_t* labels) {
  const Tensor loss = tape.tensor({1});
  const Tensor gradient = tape.ops().wide_cross_entropy({.ragged = logits.ragged,
                                                         .logits = logits.x->data,
                                                         .classes = classes,
                                                         .labels = labels,
                                                         .gradient = tape.recording(),
                                                         .loss = loss});
  if (tape.recording()) {
    logits.x->grad = gradient;
    tape.grad_target(logits.x);
  }
  return loss;
}

}  // namespace mpq
