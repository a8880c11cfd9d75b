// Texts without labels, tokenized: what pretraining reads.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/tokenizer.h"

namespace mpq {

struct CorpusOptions {
  std::string data = "synthetic", tokenizer, text_column;  // as in DataOptions
  bool test = false;                                       // also the texts of the test split
  double held_out = 0.01;                                  // share of the texts that is never trained on
  int64_t rows = 0;                                        // texts to keep, a fixed choice by their hash; 0: all
};

// Whole texts as token ids, without [CLS] and [SEP]; none is empty.
struct Documents {
  std::vector<int32_t> tokens;
  std::vector<int64_t> starts = {0};  // [documents + 1]
  std::vector<uint64_t> hashes;       // [documents], of the text

  int64_t count() const { return static_cast<int64_t>(hashes.size()); }
  std::span<const int32_t> operator[](int64_t d) const {
    return std::span(tokens).subspan(starts[d], starts[d + 1] - starts[d]);
  }
};

struct Corpus {
  Documents train, held_out;
  std::shared_ptr<Tokenizer> tokenizer;
  std::string description;  // for people
  std::string fingerprint;  // equal fingerprints mean equal documents, token by token
};

// The training texts of a data set (its validation texts and unlabelled ones too), or plain text. Held out are whole
// groups (films) by their hash. UserError: see open_source, and if nothing is left to train on.
Corpus load_corpus(const CorpusOptions& options);

}  // namespace mpq
