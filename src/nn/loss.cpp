#include "nn/loss.h"

#include "nn/format_table.h"

namespace mpq {
namespace {

// A parameter with the rows behind it that ParameterSet left room for.
Tensor with_room(Tensor t, int64_t rows) {
  if (t) t.shape.dims[0] = rows;
  return t;
}

// The decoder's weight is the word embedding itself.
LinearTerms decoder(const Bert& model, const BertTensors& t) {
  const auto rows = model.decoder_rows();
  return {.w = with_room(view(t.values, *model.word), rows),
          .bias = with_room(view(t.values, *model.masked_lm.bias), rows),
          .dw = with_room(grad_of(t, *model.word), rows),
          .dbias = with_room(grad_of(t, *model.masked_lm.bias), rows)};
}

NormTerms norm(const Bert& model, const BertTensors& t) {
  const MaskedLmHead& head = model.masked_lm;
  // Computed together; where only one is frozen, nobody reads that one's.
  const bool trained = t.grads && !(head.gamma->frozen && head.beta->frozen);
  const auto grad = [&](const Parameter& p) { return trained ? view(t.grads, p) : Tensor{}; };
  return {view(t.values, *head.gamma), view(t.values, *head.beta), grad(*head.gamma), grad(*head.beta),
          model.config().layer_norm_epsilon};
}

// The gradient of the word embedding has two parts. The decoder's is dense and comes first; the embeddings', of the
// batch's distinct tokens, is added behind their gradient: what is recorded first runs last.
void join_word_gradients(Tape& tape, const Bert& model, const BertTensors& t, const BertBatch& batch) {
  if (!t.dword) return;
  const Tensor word = view(t.grads, *model.word), rows = t.dword;
  tape.record(tape.var({1}), [=, &tape, segments = batch.segments] {
    tape.ops().scatter_rows(
        {.from = rows, .rows = segments.tokens, .count = segments.count, .to = word, .accumulate = true});
  });
}

}  // namespace

Features masked_lm_logits(Tape& tape, const Bert& model, const BertTensors& tensors, const FormatTable& formats,
                          const BertBatch& batch, const DropoutState& dropout) {
  const Features rows = masked_rows(tape, model, tensors, formats, batch, dropout);
  const Features wide =
      linear(tape, rows, 0, formats.terms(tensors, model.masked_lm.transform), {.activation = Activation::gelu});
  const Features x =
      residual_norm(tape, wide.x, nullptr, wide.ragged, norm(model, tensors), {}, std::vector<Reader>(1));
  return linear(tape, x, 0, decoder(model, tensors), {});
}

Tensor training_loss(Tape& tape, const Bert& model, const BertTensors& tensors, const FormatTable& formats,
                     const BertBatch& batch, const DropoutState& dropout, int64_t batch_rows) {
  if (model.head() == Head::masked_lm) {
    if (tape.recording()) join_word_gradients(tape, model, tensors, batch);
    return wide_cross_entropy(tape, masked_lm_logits(tape, model, tensors, formats, batch, dropout),
                              model.config().vocabulary, batch.masked_tokens);
  }
  const Var logits = forward(tape, model, tensors, formats, batch, dropout);
  return cross_entropy(tape, logits, batch.labels, batch.soft, batch_rows);
}

}  // namespace mpq
