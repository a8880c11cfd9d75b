// What training makes small: the mean cross-entropy of the model's head.
#pragma once
#include "nn/bert.h"

namespace mpq {

// Of the masked tokens [M, decoder_rows()]; columns beyond the vocabulary mean nothing.
Features masked_lm_logits(Tape& tape, const Bert& model, const BertTensors& tensors, const FormatTable& formats,
                          const BertBatch& batch, const DropoutState& dropout);

// [1] a replica, with its gradient recorded: of the batch's labels (or soft targets), or of its masked tokens.
// `batch_rows`: see cross_entropy of autograd/ops.h.
Tensor training_loss(Tape& tape, const Bert& model, const BertTensors& tensors, const FormatTable& formats,
                     const BertBatch& batch, const DropoutState& dropout, int64_t batch_rows = 0);

}  // namespace mpq
