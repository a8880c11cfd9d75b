// What a backend computes: fused operations on ragged batches, R replicas at a time. Arguments are parameter structs;
// every tensor carries its shape. Gradients named d... are written, or added to where `accumulate` says so.
// Letters: T tokens, B sequences, C hidden, F feed-forward, H heads, D head width, V vocabulary, U distinct tokens.
#pragma once
#include <span>

#include "base/hd.h"
#include "tensor/tensor.h"

namespace mpq {

struct QuantSpec;  // quant/spec.h
struct PruneSpec;  // quant/prune_spec.h
enum class Role : uint8_t;

// Rows of a ragged batch: sequence b owns rows starts[b] ... starts[b + 1] - 1. A batch of single rows (pooler,
// CLS-only layer) is a ragged batch of B sequences of length 1. A device that replays recorded work (tensor/device.h)
// gets `rows` and `longest` of the largest batch the record serves: what is there stands in its memory, starts[B] rows.
struct Ragged {
  const int32_t* starts = nullptr;  // [B + 1]
  int32_t sequences = 0;            // B
  int64_t rows = 0;                 // T = starts[B], or more
  int32_t longest = 0;              // or more; 1: every sequence is one row
};

// Some rows of a ragged batch, as a batch of their own: those of sequence b are rows[ragged.starts[b]] ...
// rows[ragged.starts[b + 1] - 1] of the whole batch, ascending.
struct ChosenRows {
  Ragged ragged;
  const int32_t* rows = nullptr;  // [M]
  HD explicit operator bool() const { return rows != nullptr; }
  HD const int32_t* count() const { return ragged.starts + ragged.sequences; }  // [1], M: in the device's memory
};

// Inverted dropout, drawn per logical element: Philox4x32-10 keyed by the replica's seed, the step, the site and the
// element (sequence, position, channel) or (sequence, head, query, key); never by a packed index, slot or tile.
struct Dropout {
  float p = 0;                      // 0: off
  const uint64_t* seeds = nullptr;  // [R]
  const int64_t* step = nullptr;    // [1]
  uint32_t site = 0;
  uint32_t first = 0;  // the first sequence's number, where the batch is the rest of a larger one
};

// One format for each replica: replica r's is specs[r * stride]. `trained` holds what the format trains, [R][4]
// (binary_residual: up to three means, then gamma); null where the specs' own values hold.
// The specs lie in the device's memory; what the host has to know of them to plan stands beside the pointer (plan_for
// of autograd/ops.h sets it).
struct QuantSlot {
  const QuantSpec* specs = nullptr;
  int64_t stride = 0;
  Tensor trained;
  // Some replica's format looks over a whole sequence (reach); its very tiles hold several rows (tile_reach). All look
  // at one value at a time.
  bool over_sequence = false, tiles_over_rows = false, elementwise = true;
  int surveys = 0;  // the most passes over its whole tensor that some replica's format begins with
  HD explicit operator bool() const { return specs != nullptr; }
};

// A quantized copy of an operation's output, made while the rows are at hand. Every sequence is quantized as if it
// were alone: [S, C] is what its format sees.
// Where the rows are the first ones of sequences, the copy of all of their rows.
struct WholeCopy {
  Tensor xq;                        // [T, C]
  const int32_t* starts = nullptr;  // [B + 1]
  HD explicit operator bool() const { return starts != nullptr; }
};
struct QuantizedCopy {
  QuantSlot slot;
  Tensor xq;  // [rows, C]
  // If set: formats that look over a sequence take its first row from there; those that look no further than for what
  // fills tiles of zeros, only a row that has such a tile.
  WholeCopy whole;
};

struct QuantizedCopies {
  QuantizedCopy copy[3];
  int count = 0;
  int features_rank = 3;  // 3: a row belongs to a sequence [1, S, C]; 2: every row is a tensor of its own [1, C]
  void add(QuantizedCopy c) { copy[count++] = c; }
  const QuantizedCopy* begin() const { return copy; }
  const QuantizedCopy* end() const { return copy + count; }
};

// Whether all rows of a batch have to be seen where only the first ones of its sequences are quantized: if one of those
// has a tile of zeros, which its format fills with a minimum over the sequence.
struct NeedWhole {
  struct FirstRows {
    QuantSlot slot;
    Tensor x;  // [B, C], before the format
  } rows[3];
  int count = 0;
  Ragged whole;            // the batch
  int32_t *starts, *ones;  // [B + 1], written: those of the batch and of its first rows, or zeros: batches without rows
};

// wq = quantize(w) for every weight and bias of a model, or for its embedding tables. Where the Linear's input is
// binary_residual its weight is multiplied by |gamma| (`input` is set for weights and empty for biases; gamma is
// input.trained[3]).
struct QuantizeWeights {
  struct Rows {
    const int32_t* rows = nullptr;   // [U] distinct rows; null: all of them
    const int32_t* count = nullptr;  // [1], U
    int64_t most = 0;                // U, or more
  };
  struct Item {
    Tensor w, wq;  // [N, K] or [N]
    QuantSlot slot;
    Role role;
    QuantSlot input;
    Tensor dw, dtrained;  // gradient only: dw [N, K] holds dwq and becomes dw in place; dtrained[r][3] is dgamma
    Rows only = {};       // of w: the others' wq stays. The format looks no further than a row
  };
  std::span<const Item> items;
  bool at_once = false;  // for whoever comes next; else for Linears, which wait for them
};

// x = dropout(LayerNorm(word[token] + position[i] + type[0])), "BERT" (Devlin et al. 2018) section 3.
struct Embed {
  Ragged ragged;
  const int32_t* tokens;        // [T]
  Tensor word, position, type;  // [V, C] [P, C] [types, C]
  Tensor gamma, beta;           // [C]
  float epsilon;
  Dropout dropout;
  Tensor sum, mean, rstd;  // saved for the gradient: [T, C] [T] [T]
  Tensor x;                // [T, C]
  QuantizedCopies quantized;
};
// The distinct tokens of a batch and where they stand: token_order[segment_starts[u] ... segment_starts[u + 1] - 1] are
// the rows that hold segment_tokens[u], ascending.
struct TokenSegments {
  const int32_t* tokens = nullptr;  // [U]
  const int32_t* starts = nullptr;  // [U + 1]
  const int32_t* order = nullptr;   // [T]
  const int32_t* count = nullptr;   // [1], U: in the device's memory, as are the others
  int64_t most = 0;                 // U, or more: what the gradient has room for
};
struct EmbedGrad {
  Embed forward;
  TokenSegments segments;
  Tensor dx;                       // [T, C], overwritten with the gradient of the sum
  Tensor dword, dposition, dtype;  // [most, C] (compact: one row a distinct token) [P, C] [types, C]; or empty (frozen)
  Tensor dgamma, dbeta;            // [C], or both empty (frozen)
};

enum class Activation : uint8_t { none, gelu, tanh };

// A replica's rank of all its adapters (0: it has none), and alpha / rank.
struct AdapterRank {
  int32_t rank = 0;
  float scale = 0;
};
// A low-rank adapter beside a Linear (LoRA, Hu et al. 2021, section 4.1): scale * (dropout(x) a^T) b. Every replica's
// numbers lie packed by its own rank, so that a smaller one has the bits it has alone: of each Linear with an adapter
// a [rank, K], then b [rank, N] (the paper's B transposed). Behind them are zeros.
struct Adapter {
  Tensor values;                       // [largest rank * sum of all K + N]
  int64_t begin = 0;                   // sum of K + N of the adapters before this one: it starts at rank * begin
  const AdapterRank* ranks = nullptr;  // [R]
  Tensor x;                            // [M, K] the input as it is before any format
  Dropout dropout;                     // of x
  Tensor dropped;                      // [M, K] dropout(x); x itself where there is no dropout
  Tensor low;                          // [M, largest rank]: scale * dropped a^T
  HD explicit operator bool() const { return bool(values); }
};

// y = dropout(activation(quantize_y(x w^T + bias) + adapter)). x and w are what the product sees (quantized).
struct Linear1 {
  Ragged ragged;      // of x's rows
  Tensor x, w, bias;  // [M, K] [N, K] [N]
  Activation activation = Activation::none;
  QuantSlot y_format;  // format of the product's output, or empty
  int y_rank = 3;
  Adapter adapter;  // or empty
  Dropout dropout;
  Tensor saved;               // [M, N] what the activation's gradient needs: gelu its input, tanh its output; or empty
  Tensor y;                   // [M, N]
  QuantizedCopies quantized;  // of y
};
// What made x from `values`, where its gradient is not the identity (binary_residual): the gradient of x, kept in dxq
// for QuantizeGrad, goes through it on its way to dx. Replicas whose format lets it pass do not use dxq.
struct InputFormat {
  QuantSlot slot;
  Tensor values, dxq;  // [M, K]
  HD explicit operator bool() const { return bool(slot); }
};
struct Linear1Grad {
  Linear1 forward;
  // [M, N], overwritten with the gradient of the product's output. bf16 as wide_cross_entropy returned it: of a Linear
  // in a call of its own, without activation, dropout and adapter.
  Tensor dy;
  InputFormat input_format;  // or empty
  Tensor dx;                 // [M, K] or empty
  bool accumulate = false;   // dx +=
  // The activation that made x, and what it saved: dx is multiplied by its slope too (x has no other reader).
  Activation input_activation = Activation::none;
  Tensor input_saved;  // [M, K]
  Tensor dw, dbias;    // [N, K] [N] or empty (frozen)
  // Of the adapter, whose part of dx is added last (without the slope above): scale * dy b^T [M, largest rank], and
  // the gradient of its values, laid out as they are, or empty (frozen).
  Tensor dlow, dadapter;
};

// Gradients of what the formats of inputs train, all Linears of a model in one call.
struct QuantizeGrad {
  struct Item {
    Ragged ragged;
    InputFormat format;  // dxq as Linear1Grad left it
    Tensor dtrained;     // [R][4]: set from the front, as many as the replica's format trains
  };
  std::span<const Item> items;
};

// context = dropout(softmax(q k^T / sqrt(D))) v, per sequence and head. The queries may be fewer than the keys: with
// `queries` of single rows only the first row of each sequence asks (the CLS-only last layer).
struct Attention {
  Ragged keys, queries;
  int heads;
  Tensor q, k, v;  // [rows of queries, C] [T, C] [T, C]
  Dropout dropout;
  Tensor stats;    // [rows of queries, H, 2]: about the maximum of the scaled scores, 1 / sum of exponentials over it
  Tensor kept;     // with dropout, kept_shape: what it keeps, so that the gradient need not draw again
  Tensor context;  // [rows of queries, C]
  QuantizedCopies quantized;
};
// [rows of queries, H, words] int32, a bit a key. How the bits lie is the device's affair; the CPU draws again and
// leaves them as they are.
inline Shape kept_shape(const Ragged& keys, const Ragged& queries, int heads) {
  return {queries.rows, heads, (keys.longest + 127) / 128 * 4};
}
struct AttentionGrad {
  Attention forward;
  Tensor dcontext;  // [rows of queries, C]
  Tensor dq, dk, dv;
};

// x = LayerNorm(residual + dropout(y)); without a residual LayerNorm(dropout(y)).
struct ResidualNorm {
  Ragged ragged;
  Tensor y, residual;  // [T, C]; residual may be empty
  Tensor gamma, beta;  // [C]
  float epsilon;
  Dropout dropout;
  Tensor sum;         // [T, C], which the gradient needs; may be y, which nobody reads then
  Tensor mean, rstd;  // [T]
  Tensor x;           // [T, C]
  QuantizedCopies quantized;
};
struct ResidualNormGrad {
  ResidualNorm forward;
  Tensor dx;             // [T, C]
  Tensor dy, dresidual;  // [T, C]; dresidual is empty where there is no residual
  Tensor dgamma, dbeta;  // [C], or both empty (frozen)
};

// How a Linear's input is pruned, for each replica: replica r's is specs[r * stride], in the device's memory.
struct PruneSlot {
  const PruneSpec* specs = nullptr;
  int64_t stride = 0;
  HD explicit operator bool() const { return specs != nullptr; }
};

// pruned = x where the replica's spec keeps it, else 0. l1 keeps what lies above the quantile of its row's, or the
// batch's, magnitudes (quant/quantile.h). random draws as Dropout does, by the replica's sparsity and without a scale.
struct Prune {
  Ragged ragged;
  PruneSlot slot;
  Dropout draw;                      // its p is not used
  const int32_t* numbers = nullptr;  // [B], of the sequences, instead of their place in the batch
  Tensor x;                          // [T, C]
  Tensor threshold;                  // [T], of l1: saved for the gradient
  Tensor batch_threshold;            // [1], of l1 over the whole batch; empty where no replica has such a scope
  Tensor pruned;                     // [T, C]
};
// dx = (accumulate ? dx : 0) + dpruned where x was kept.
struct PruneGrad {
  Prune forward;
  Tensor dpruned, dx;  // [T, C]
  bool accumulate = false;
};

// y = first row of every sequence; the gradient puts zeros elsewhere, or adds to the first rows only.
struct SelectFirst {
  Ragged ragged;
  Tensor x, y;    // [T, C] [B, C]
  Tensor xq, yq;  // the same of a quantized copy of x, or empty
};
struct SelectFirstGrad {
  Ragged ragged;
  Tensor dy, dx;  // [B, C] [T, C]
  bool accumulate = false;
};

// y[m] = x[chosen.rows[m]]; its gradient is a ScatterRows.
struct GatherRows {
  ChosenRows chosen;
  Tensor x, y;  // [T, C] [M, C]
};

// What a teacher says of every row of a data set: a batch's row b should have the probabilities of table row rows[b].
// Without a table its label has probability 1. Shared by all replicas.
struct SoftTargets {
  const float* table = nullptr;   // [rows of the data set, classes], every row sums to 1
  const int32_t* rows = nullptr;  // [B]
};

// loss[r] = mean over the batch of -sum_c target[c] log softmax(logits)[c]; dlogits is its gradient.
struct CrossEntropy {
  Tensor logits, dlogits;  // [B, classes]; dlogits may be empty
  const int32_t* labels;   // [B]
  SoftTargets soft = {};
  Tensor loss;             // [1]
  int64_t batch_rows = 0;  // what sums are divided by, where these rows are a part of a batch; 0: B

  HD int64_t divisor() const { return batch_rows > 0 ? batch_rows : logits.rows(); }
  HD float target(int64_t b, int64_t c, int64_t classes) const {
    return soft.table ? soft.table[soft.rows[b] * classes + c] : static_cast<float>(labels[b] == c);
  }
};

// Cross-entropy of rows that choose among a whole vocabulary; the logits become their gradient in place, as float or,
// where the products that take it round it anyway, as bf16. Columns from `classes` on belong to no class (products like
// widths that are multiples of 16): their gradient is zero.
struct WideCrossEntropy {
  Ragged ragged;          // of the logits' rows, M
  Tensor logits;          // [M, columns]
  int64_t classes;        // <= columns
  const int32_t* labels;  // [M]
  bool gradient;          // or the logits stay
  Tensor loss;            // [1], the mean over the rows; 0 without rows
};

// One contiguous stretch of the flat parameter buffers.
struct ParameterRange {
  int64_t begin, end;
  bool decay;  // weight decay applies
};

// AdamW, decoupled decay (Loshchilov & Hutter 2019), in PyTorch's order of operations. What depends on the step is read
// from tables of the whole run: rate = lr / (1 - beta1^t), inverse_root = 1 / sqrt(1 - beta2^t), keep = 1 - lr *
// weight_decay.
struct AdamWTable {
  const float *rate, *inverse_root, *keep;  // [R][steps]
  int64_t steps;                            // row length; step t (from 0) is entry t
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;
};
struct ClipNorm {  // scale[r] = min(1, limit / (norm + 1e-6)); limit 0: scale 1
  Tensor flat;     // [P] gradients
  std::span<const ParameterRange> ranges;
  Tensor rows;               // [most, C] compact gradient of the embedding table, or empty
  const int32_t* row_count;  // [1], U
  float limit;
  Tensor norm, scale;  // [1]
};
struct AdamW {
  Tensor p, g, m, v;  // [P]
  std::span<const ParameterRange> ranges;
  Tensor scale;  // [1] of ClipNorm
  AdamWTable table;
  const int64_t* step;  // [1]
};
// The same for rows of a table that few steps touch. last[r][row] = number of updates applied so far. catch_up applies
// the missed zero-gradient updates up to `*step` exclusive, in order: the bits of dense AdamW.
struct AdamWRows {
  Tensor p, m, v;        // [V, C]
  int32_t* last;         // [R][V]
  const int32_t* rows;   // [U] distinct rows
  const int32_t* count;  // [1], U
  int64_t most;          // U, or more
  Tensor g;              // [most, C]; empty: catch up only
  Tensor scale;
  AdamWTable table;
  bool decay;
  const int64_t* step;  // [1]
};

// to[rows[u]] = from[u], or += ; other rows stay.
struct ScatterRows {
  Tensor from;           // [most, C]
  const int32_t* rows;   // [U] distinct rows
  const int32_t* count;  // [1], U
  Tensor to;             // [V, C]
  bool accumulate = false;
};

// A data set in the device's memory, and the rows that every step of a run takes: order[first[t]] ...
// order[first[t + 1] - 1].
struct StepRows {
  const int32_t* tokens = nullptr;  // of all rows, one after the other
  const int64_t* starts = nullptr;  // [rows + 1], into tokens
  const int32_t* labels = nullptr;  // [rows]
  const int32_t* order = nullptr;   // row numbers
  const int64_t* first = nullptr;   // [steps + 1], into order
  // What was masked (data/masking.h): of row r the positions and tokens masked_starts[r] ... masked_starts[r + 1] - 1.
  // Null: nothing.
  const int64_t* masked_starts = nullptr;     // [rows + 1]
  const int32_t* masked_positions = nullptr;  // in their rows, ascending
  const int32_t* masked_tokens = nullptr;     // that stood there
};
// Batches side by side: batch i starts i * row_stride further in starts, labels and rows, i * token_stride further in
// those of tokens, i * masked_stride further in those of masked rows, and segment_count has one entry a batch. Segments
// as in TokenSegments, masked rows as in ChosenRows; null where nobody needs them.
struct BatchSlots {
  int32_t* starts = nullptr;                                                           // [B + 1]
  int32_t* labels = nullptr;                                                           // [B]
  int32_t* rows = nullptr;                                                             // [B], numbers in the data set
  int32_t* tokens = nullptr;                                                           // [T]
  int32_t *segment_tokens = nullptr, *segment_starts = nullptr, *order = nullptr;      // [U] [U + 1] [T]
  int32_t* segment_count = nullptr;                                                    // [1]
  int32_t *masked_starts = nullptr, *masked_rows = nullptr, *masked_tokens = nullptr;  // [B + 1] [M] [M]
  int64_t row_stride = 0, token_stride = 0, masked_stride = 0;

  HD BatchSlots at(int64_t i) const {
    BatchSlots one = *this;
    one.starts += i * row_stride, one.labels += i * row_stride, one.rows += i * row_stride;
    one.tokens += i * token_stride;
    if (masked_rows) {
      one.masked_starts += i * row_stride;
      one.masked_rows += i * masked_stride, one.masked_tokens += i * masked_stride;
    }
    if (!segment_count) return one;
    one.segment_tokens += i * token_stride, one.segment_starts += i * token_stride, one.order += i * token_stride;
    one.segment_count += i;
    return one;
  }
};
// Makes the batches of steps first_step ... first_step + count - 1 in slots 0 ... count - 1.
struct PrepareBatches {
  StepRows rows;
  int64_t first_step, count;
  BatchSlots slots;
  int64_t tokens;  // of all these batches, from the host
  void* scratch;   // Ops::prepare_scratch(tokens) bytes
};
// Copies the batch of step *step from slot (*step - *first_step) to where the step's operations read it.
struct LoadBatch {
  BatchSlots slots, to;
  const int64_t *step, *first_step;  // [1]
  int32_t sequences;                 // B
};
// The end of a step: history[*step % slots] = {loss, norm} of every replica; then ++*step.
struct EndStep {
  Tensor loss, norm;  // [1]
  float* history;     // [slots][R][2]
  int64_t slots;
  int64_t* step;
};

class Ops {
 public:
  virtual ~Ops() = default;
  virtual void quantize_weights(const QuantizeWeights&) = 0;
  virtual void quantize_weights_grad(const QuantizeWeights&) = 0;
  virtual void quantize_grad(const QuantizeGrad&) = 0;
  virtual void embed(const Embed&) = 0;
  virtual void embed_grad(const EmbedGrad&) = 0;
  virtual void linear(std::span<const Linear1>) = 0;           // independent problems in one launch (Q, K, V)
  virtual void linear_grad(std::span<const Linear1Grad>) = 0;  // in order where they accumulate into the same dx
  // A Linear without its product (w and bias are empty): y = dropout(activation(x)). The gradient is dy, in place.
  virtual void activate(const Linear1&) = 0;
  virtual void activate_grad(const Linear1Grad&) = 0;
  virtual void attention(const Attention&) = 0;
  virtual void attention_grad(const AttentionGrad&) = 0;
  virtual void residual_norm(const ResidualNorm&) = 0;
  virtual void residual_norm_grad(const ResidualNormGrad&) = 0;
  virtual void prune(std::span<const Prune>) = 0;           // of one x, up to three (for Q, K, V)
  virtual void prune_grad(std::span<const PruneGrad>) = 0;  // into one dx, in order
  virtual void select_first(const SelectFirst&) = 0;
  virtual void select_first_grad(const SelectFirstGrad&) = 0;
  virtual void gather_rows(const GatherRows&) = 0;
  virtual void cross_entropy(const CrossEntropy&) = 0;
  virtual Tensor wide_cross_entropy(const WideCrossEntropy&) = 0;  // the gradient, or empty
  virtual void clip_norm(const ClipNorm&) = 0;
  virtual void adamw(const AdamW&) = 0;
  virtual void adamw_rows(const AdamWRows&) = 0;
  virtual void quantize_copies(const QuantizedCopies&, const Tensor& x, const Ragged&) = 0;
  virtual bool need_whole(const NeedWhole&) = 0;               // false: no, and the host knows already
  virtual void add(const Tensor& from, const Tensor& to) = 0;  // to += from
  virtual void fill(const Tensor& t, float value) = 0;
  virtual void apply_mask(const Tensor& mask, const Tensor& to) = 0;  // to = 0 where mask is 0
  virtual void scatter_rows(const ScatterRows&) = 0;
  virtual void prepare_batches(const PrepareBatches&) = 0;
  virtual size_t prepare_scratch(int64_t tokens) = 0;  // bytes
  virtual void load_batch(const LoadBatch&) = 0;
  virtual void end_step(const EndStep&) = 0;
};

}  // namespace mpq
