// A data set ready for training: tokenized, split, truncated. Everything else in data/ serves this header.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace mpq {

// How a row longer than max_tokens is cut. Head: its beginning, as Hugging Face's truncation=True. HeadTail: the
// first quarter and the last three quarters (128 + 382 tokens of 512), which keeps a review's verdict.
enum class Truncate { Head, HeadTail };

struct DataOptions {
  std::string data = "synthetic";  // synthetic | imdb | a file or a folder (data/source.h)
  std::string tokenizer;           // a file or folder | sentencepiece:N | empty: what suits the data
  int max_tokens = 512;            // [CLS] and [SEP] included
  Truncate truncate = Truncate::Head;
  std::string text_column, label_column, group_column;  // names, or positions from 1; empty: found by themselves
  std::string valid;                                    // a file, or the share of the training rows; empty: 0.2
  std::string test;                                     // a file
  // Rows of the training split (validation included) to keep, and at most as many of the test split: a fixed choice by
  // the hash of the text, each class and validation in proportion. 0: all.
  int64_t rows = 0;
  bool merge_valid_into_train = false;  // no validation split: the labs' procedure, which selects on the test split
  bool unlabelled = false;              // read the unlabelled rows too, where the source brings some
};

// What a masked language model is to find again: of row r the tokens row_starts[r] ... row_starts[r + 1] - 1 of these,
// at these positions of the row.
struct MaskedTokens {
  std::vector<int64_t> row_starts;  // [rows + 1]; empty: nothing is masked
  std::vector<int32_t> positions, tokens;
};

// Rows of token ids without padding; [CLS] and [SEP] included, at most max_tokens a row.
struct Split {
  std::vector<int32_t> tokens;            // [T]
  std::vector<int64_t> row_starts = {0};  // [rows + 1]
  std::vector<int32_t> labels;            // [rows]; 0 for unlabelled rows
  std::vector<float> targets;             // [rows, classes], what to learn instead of the labels; empty: the labels
  std::vector<uint64_t> texts;            // [rows], hash64 of the whole text: what a teacher knows a row by
  MaskedTokens masked;

  int64_t row_count() const { return static_cast<int64_t>(labels.size()); }
  std::span<const int32_t> row(int64_t r) const {
    const auto i = static_cast<size_t>(r);
    return std::span(tokens).subspan(static_cast<size_t>(row_starts[i]),
                                     static_cast<size_t>(row_starts[i + 1] - row_starts[i]));
  }
};

struct Dataset {
  Split train, valid, test, unlabelled;  // all but train may be empty
  std::vector<std::string> label_names;
  std::shared_ptr<Tokenizer> tokenizer;
  std::string description;  // for people: what was read, how many rows a split
  std::string fingerprint;  // equal fingerprints mean equal splits, token by token
  std::string splits;       // SplitRows::fingerprint: the same whatever the tokenizer
};

// UserError, with file and line, for everything that is wrong with the data (see data/table_reader.h and
// data/aclimdb_reader.h), for an empty training split and for fewer than two classes.
Dataset load_dataset(const DataOptions& options);

// Appends [CLS] ids [SEP], cut to max_tokens (>= 3).
void append_row(std::span<const int32_t> ids, const SpecialIds& special, int max_tokens, Truncate truncate,
                std::vector<int32_t>& out);

}  // namespace mpq
