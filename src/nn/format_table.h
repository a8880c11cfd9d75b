// The number formats of a model: every operand of every Linear of every replica, and every embedding table; and which
// inputs are pruned.
#pragma once
#include <vector>

#include "nn/bert.h"
#include "nn/prune_table.h"

namespace mpq {

// The formats of every replica, as the operations read them.
class FormatTable {
 public:
  // specs[r][i]: replica r; Linear i, or an embedding table (nn/model_formats.h). A format that trains something reads
  // model.trained from `values`. UserError: a tile that must divide its tensor does not divide this model's.
  FormatTable(const Bert& model, const std::vector<std::vector<LinearSpec>>& specs,
              const std::vector<Pruning>& prunings = {});

  int replicas() const { return replicas_; }
  // The table itself, [R][rows][x, w, b, y], and where its copy in the device's memory is.
  const std::vector<QuantSpec>& table() const { return table_; }
  const PruneTable& pruning() const { return pruning_; }
  void place(const QuantSpec* specs, const PruneSpec* pruning) { specs_ = specs, pruning_.place(pruning); }
  bool weights_quantized() const { return weights_quantized_; }  // any weight, bias or table of any replica
  bool weights_scaled() const { return weights_scaled_; }        // by gamma
  // In the last layer only [CLS] goes on. A format there that looks over the sequence still has to see every row: of
  // the input of a Linear after the attention (forward only), or (then the shortcut is off) of the output of one. It is
  // off too where pruning looks over the batch. Where no tile of such an input holds several rows, it is only tiles of
  // zeros that all rows matter to.
  bool input_over_sequence() const { return input_over_sequence_; }
  bool input_tiles_over_rows() const { return input_tiles_over_rows_; }
  bool output_over_sequence() const { return output_over_sequence_; }
  // Floats of a flat buffer that holds what is quantized; the word embedding is behind all else.
  int64_t quantized_size(const Bert& model) const;
  // The word embedding's format looks beyond a row: it has to see all of them up to date.
  bool words_together() const { return words_together_; }
  const QuantSpec& spec(int replica, int row, int operand) const {
    return table_[(replica * rows_ + row) * 4 + operand];
  }

  bool differs(int row) const;  // in any operand, between any replicas

  Reader reader(const BertTensors& t, const Linear& linear) const;  // empty slot if all are `none`
  LinearTerms terms(const BertTensors& t, const Linear& linear) const;
  // What the embeddings look their rows up in.
  Tensor rows_of(const BertTensors& t, const EmbeddingTable& table) const;
  // One item per weight and bias that any replica quantizes (bind once per set of tensors).
  std::vector<QuantizeWeights::Item> weight_items(const Bert& model, const BertTensors& t) const;
  // Those of them that have gradients.
  std::vector<QuantizeWeights::Item> weight_grad_items(const Bert& model, const BertTensors& t) const;
  // One item per embedding table that any replica quantizes; of the word embedding only these rows, unless words are
  // quantized together. The gradient of tables is straight-through.
  std::vector<QuantizeWeights::Item> table_items(const Bert& model, const BertTensors& t,
                                                 const QuantizeWeights::Rows& words) const;

 private:
  void add_specs(const Bert& model, std::vector<LinearSpec> specs);
  QuantSlot slot(int row, int operand) const;
  bool any(int row, int operand) const;
  Tensor weight_grad(const BertTensors& t, const Linear& linear, const Parameter& p) const;

  int replicas_, linears_, rows_;
  PruneTable pruning_;
  std::vector<QuantSpec> table_;        // [R][rows][x, w, b, y]
  const QuantSpec* specs_ = nullptr;    // the same on the device; null: nobody reads them (dry runs)
  std::vector<int> shares_input_with_;  // the first Linear of the same input whose x formats are equal in every replica
  bool weights_quantized_ = false, weights_scaled_ = false, words_together_ = false;
  bool input_over_sequence_ = false, input_tiles_over_rows_ = false, output_over_sequence_ = false;
};

}  // namespace mpq
