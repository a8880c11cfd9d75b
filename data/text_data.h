// A data set as texts, in the splits that load_dataset makes of it: for models that read words rather than tokens.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace mpq {

struct TextSplit {
  std::vector<std::string> texts;
  std::vector<uint64_t> hashes;  // [rows], hash64 of the text, as Split::texts
  std::vector<uint64_t> groups;  // [rows], hash64 of the group (a film), or of the text where there is none
  std::vector<int32_t> labels;   // [rows]; 0 for unlabelled rows

  int64_t row_count() const { return static_cast<int64_t>(labels.size()); }
};

struct TextData {
  TextSplit train, valid, test, unlabelled;  // all but train may be empty
  std::vector<std::string> label_names;
  std::string name;    // of the source, for people
  std::string splits;  // as Dataset::splits
};

// The options that speak of tokens are ignored. UserError as load_dataset.
TextData load_texts(const DataOptions& options);

}  // namespace mpq
