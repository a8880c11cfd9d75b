// Every differentiable operation: its forward, and beside it the closure that is its gradient.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "autograd/tape.h"

namespace mpq {

// Adds to the slot's plan what the format of one of its replicas asks for.
void plan_for(QuantSlot& slot, const QuantSpec& spec);

// How one consumer wants to read a value: quantized by `slot`, or as it is (empty slot).
struct Reader {
  QuantSlot slot;
  bool identity_gradient = true;  // of the straight-through estimator; false if any replica's format masks it
  Tensor dtrained;                // [R][4], gradient of slot.trained
  WholeCopy whole;                // where the value is the first rows of sequences that are quantized as a whole
};

// A value and what each of its readers multiplies: the value itself or a quantized copy.
struct Features {
  Var x = nullptr;
  std::array<Tensor, 3> read;
  Ragged ragged;
  int rank = 3;  // what a format sees: 3 = [1, S, C] of each sequence, 2 = [1, C] of each row
};

// The quantized copies an operation has to make for `readers`; readers with equal slots share one.
struct CopyPlan {
  QuantizedCopies copies;
  std::array<Tensor, 3> read;
};
CopyPlan plan_copies(Tape& tape, std::span<const Reader> readers, Tensor x, int rank);

// The adapter beside a Linear (tensor/ops.h).
struct AdapterTerms {
  Tensor values, dvalues;  // of all adapters; the gradient is empty if frozen
  int64_t begin = 0, most_rank = 0;
  const AdapterRank* ranks = nullptr;  // [R]
  Dropout dropout;
  explicit operator bool() const { return bool(values); }
};

// A Linear as one step sees it: master weights stay elsewhere, products use their quantized values. Without a weight it
// is the identity.
struct LinearTerms {
  Tensor w, bias;        // [N, K] [N], quantized (or the masters themselves)
  Tensor dw, dbias;      // gradients of the masters; empty if frozen
  Reader input;          // how it reads its input
  QuantSlot output;      // format of its output, or empty
  AdapterTerms adapter;  // or empty
};

struct EmbedTerms {
  Tensor word, position, type, gamma, beta;
  Tensor dword, dposition, dtype, dgamma, dbeta;  // dword is compact [U, C]; empty if frozen
  float epsilon;
};

struct NormTerms {
  Tensor gamma, beta, dgamma, dbeta;  // [C]; the gradients are empty if frozen, both of them
  float epsilon;
};

Features embed(Tape& tape, const EmbedTerms& terms, const Ragged& ragged, const int32_t* tokens,
               const TokenSegments& segments, const Dropout& dropout, std::span<const Reader> readers);

// How the input of one Linear is pruned before it is read.
struct PruneTerms {
  PruneSlot slot;
  Dropout draw;            // of random pruning; without a p
  const int32_t* numbers;  // of the sequences, or null
  Reader reader;           // of what is left
  bool over_batch;         // some replica's threshold is the whole batch's
};
// What up to three Linears read of x, each pruned by itself.
std::vector<Features> prune(Tape& tape, const Features& x, std::span<const PruneTerms> terms);

struct LinearOptions {
  Activation activation = Activation::none;
  Dropout dropout;
  std::span<const Reader> readers;  // of the result
};
// y_i = dropout(activation(x_i w_i^T + b_i + adapter)): one Linear, or several that read the same rows.
struct LinearInput {
  Features x;
  int reader;
};
Features linear(Tape& tape, const Features& x, int reader, const LinearTerms& terms, const LinearOptions& options);
std::vector<Var> linears(Tape& tape, std::span<const LinearInput> inputs, std::span<const LinearTerms* const> terms);

struct AttentionInputs {
  Ragged keys, queries;
  Var q, k, v;
  int heads;
};
Features attention(Tape& tape, const AttentionInputs& inputs, const Dropout& dropout, std::span<const Reader> readers);

// Without a residual (null): LayerNorm(dropout(y)).
Features residual_norm(Tape& tape, Var y, Var residual, const Ragged& ragged, const NormTerms& terms,
                       const Dropout& dropout, std::span<const Reader> readers, int rank = 3);

// The first row of every sequence, as sequences of one row, and what the first reader reads of it.
Features select_first(Tape& tape, const Features& x, const Ragged& single_rows);

// The chosen rows, unquantized.
Features gather_rows(Tape& tape, const Features& x, const ChosenRows& chosen);

// Quantized copies of an existing value for new readers.
Features read_again(Tape& tape, const Features& x, std::span<const Reader> readers, int rank);

// Mean loss [1] per replica; starts the gradient. Of a part of a batch: the sum over its rows, divided by `batch_rows`.
Tensor cross_entropy(Tape& tape, Var logits, const int32_t* labels, const SoftTargets& soft = {},
                     int64_t batch_rows = 0);
// The same over a vocabulary (WideCrossEntropy); the logits become their gradient.
Tensor wide_cross_entropy(Tape& tape, const Features& logits, int64_t classes, const int32_t* labels);

}  // namespace mpq
