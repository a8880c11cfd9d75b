// What a model is made of: the operations of its forward pass, in order, as a dry run of that pass meets them.
#pragma once
#include <string>
#include <vector>

#include "nn/bert.h"

namespace mpq {

struct TableFormat {
  std::string table;  // its dotted name
  QuantSpec format;
};

// Of one sequence. Where mpq leaves work out (behind the last layer's keys and values only [CLS] goes on), it is not
// here; where formats ask for more (statistics over a sequence), it is.
struct Operation {
  std::string name;                           // of a Linear or LayerNorm as its parameters have it: "bert.pooler.dense"
  std::string kind;                           // embed, linear, adapter, gelu, tanh, attention, norm, first row
  int64_t rows = 0, cols = 0;                 // of the result
  int64_t parameters = 0;                     // 0 where an operation before has counted them
  int64_t multiply_adds = 0;                  // of matrix products; a bias is not counted
  LinearSpec format;                          // of a Linear
  std::vector<TableFormat> tables;            // of the embeddings
  double x_bits = 0, w_bits = 0, b_bits = 0;  // of its inputs, weight and bias, each in its format
  std::vector<int> inputs;                    // the operations whose results it reads
};

// "word_embeddings=integer(width=8,frac=6)", of tables that are not float.
std::vector<std::string> table_texts(const Operation& embeddings);

// Formats as nn/model_formats.h has them; sequences of `tokens` tokens. Adapters have their plan's rank.
std::vector<Operation> operations(const Bert& model, const std::vector<LinearSpec>& formats, int tokens);

}  // namespace mpq
