// BERT (Devlin et al. 2018; post-LayerNorm, erf GELU) on ragged batches, with the head of sequence classification (tanh
// pooler) or of masked language modelling. The last layer computes only what its head needs: behind attention one row a
// sequence ([CLS]), or the masked rows.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "autograd/ops.h"
#include "nn/adapters.h"
#include "nn/parameters.h"
#include "quant/linear_spec.h"

namespace mpq {

struct BertConfig {
  int layers = 2, hidden = 128, heads = 2, ffn = 512;
  int vocabulary = 30522, positions = 512, types = 2, classes = 2;
  float layer_norm_epsilon = 1e-12f, initializer_range = 0.02f;
  float hidden_dropout = 0.1f, attention_dropout = 0.1f;
  // Linears that are left out: their output is their input (square_linears says which can be).
  std::set<std::string> identities = {};
  bool operator==(const BertConfig&) const = default;
};

// "tiny", "mini", "small", "medium", "base" or "L,H,A,F" (layers, hidden, heads, feed-forward). UserError.
BertConfig parse_model(const std::string& text);

// The Linears whose output is as wide as their input, in the order of the model; the classifier is none of them.
std::vector<std::string> square_linears(const BertConfig& config);

// A Linear of the model. Its index is its row in the table of formats.
struct Linear {
  std::string name;  // "bert.encoder.layer.0.attention.self.query"
  const Parameter *weight = nullptr, *bias = nullptr;
  const Parameter* trained = nullptr;  // [4]: means of binary_residual, then gamma; used where a format trains them
  int index = -1;
  int64_t adapter = -1;                         // Adapter::begin of the one beside it; -1: none
  bool is_identity() const { return !weight; }  // it has no parameters, no formats and no index
};

// An embedding table. Its index is its row in the table of formats, behind those of the Linears.
struct EmbeddingTable {
  std::string name;  // "bert.embeddings.word_embeddings"
  const Parameter* weight = nullptr;
  int index = -1;
};

struct BertLayer {
  Linear query, key, value, attention_output, intermediate, output;
  const Parameter *attention_gamma, *attention_beta, *output_gamma, *output_beta;
};

// What stands on the encoder.
enum class Head : uint8_t { classifier, masked_lm };

// Logits of masked tokens: LayerNorm(gelu(transform x)) times the word embedding's rows, plus bias.
struct MaskedLmHead {
  Linear transform;
  const Parameter *gamma, *beta;  // [C]
  const Parameter* bias;          // [V]
};

// The model's structure; holds no numbers.
class Bert {
 public:
  explicit Bert(const BertConfig& config, const AdapterPlan& adapters = {}, Head head = Head::classifier);
  Bert(const BertConfig& config, Head head) : Bert(config, {}, head) {}
  Bert(const Bert&) = delete;
  Bert& operator=(const Bert&) = delete;

  const BertConfig& config() const { return config_; }
  Head head() const { return head_; }
  const AdapterPlan& adapter_plan() const { return adapter_plan_; }
  const ParameterSet& parameters() const { return parameters_; }
  const std::vector<const Linear*>& linears() const { return linears_; }  // without identities
  const std::vector<EmbeddingTable>& tables() const { return tables_; }   // word, position, type
  // Rows of a table of formats: Linears, then embedding tables.
  int format_rows() const { return static_cast<int>(linears_.size() + tables_.size()); }
  // See ParameterSet::freeze. Before a session is opened on this model.
  int freeze(const std::string& pattern) { return parameters_.freeze(pattern); }

  const Parameter *word, *position, *type, *embedding_gamma, *embedding_beta;
  std::vector<BertLayer> layers;
  Linear pooler{}, classifier{};  // with the head of a classifier
  MaskedLmHead masked_lm{};       // with that of a masked language model: `word` is dense then, it is the decoder too
  // The vocabulary as the decoder's products see it, a multiple of 16: word and masked_lm.bias have room behind them.
  int decoder_rows() const { return (config_.vocabulary + 15) / 16 * 16; }
  const Parameter* adapters = nullptr;  // of all Linears (tensor/ops.h, Adapter); null: the model has none

 private:
  Linear add_linear(const std::string& name, int out, int in);
  std::vector<Linear*> each_linear();
  void add_masked_lm_head();
  void add_quantizers();
  void add_adapters();
  void add_tables();

  BertConfig config_;
  Head head_;
  AdapterPlan adapter_plan_;
  ParameterSet parameters_;
  std::vector<const Linear*> linears_;
  std::vector<EmbeddingTable> tables_;
};

// The numbers one step works with, for R replicas.
struct BertTensors {
  Tensor values;                               // flat [R][size] masters; stride 0: one set of them for all replicas
  Tensor quantized;                            // flat [R][dense size, or size]: weights, biases, tables; or empty
  Tensor grads;                                // flat [R][dense size]; or empty
  Tensor dword;                                // [most, C] compact; or empty
  const AdapterRank* adapter_ranks = nullptr;  // [R], where the model has adapters
};
// Where a parameter's gradient goes; empty if it is frozen or nothing is trained.
Tensor grad_of(const BertTensors& tensors, const Parameter& p);

// A batch where the device can read it.
struct BertBatch {
  Ragged ragged, single_rows;              // single_rows: B sequences of one row
  const int32_t* tokens;                   // [T]
  TokenSegments segments;                  // training only
  const int32_t* labels;                   // [B]; training only
  SoftTargets soft = {};                   // instead of the labels, where a teacher has spoken
  ChosenRows masked = {};                  // of a masked language model: the rows that it is to say, and
  const int32_t* masked_tokens = nullptr;  // what they were
  // [B]: what random pruning knows the sequences by in evaluation; null, and in training: their place in the batch.
  const int32_t* numbers = nullptr;
};

// What random numbers are drawn by; without dropout (`on` is false) random pruning still draws.
struct DropoutState {
  bool on = false;
  const uint64_t* seeds = nullptr;        // [R]
  const int64_t* step = nullptr;          // [1]
  uint32_t first = 0;                     // the first sequence's number
  const uint64_t* prune_seeds = nullptr;  // [R]
};

class FormatTable;  // nn/format_table.h

// The last layer's output at the masked rows.
Features masked_rows(Tape& tape, const Bert& model, const BertTensors& tensors, const FormatTable& formats,
                     const BertBatch& batch, const DropoutState& dropout);

// Logits [B, classes]. Of replicas that share their parameters one computes for all what lies below the first Linear
// whose formats differ.
Var forward(Tape& tape, const Bert& model, const BertTensors& tensors, const FormatTable& formats,
            const BertBatch& batch, const DropoutState& dropout);

}  // namespace mpq
