// A teacher's opinion of texts: the probability of every class, kept in a file that a student can be trained on.
//
// The file is a table of tab-separated values. Header: split, text, then the names of the classes. Rows: the split
// (train, valid, test or unlabelled), the text's hash64 as 16 hex digits, and the classes' probabilities, which sum
// to 1. A text of the training split has probabilities of a model that did not see it (cross-fitted). Where a text
// stands several times, the first line counts.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

namespace mpq {

struct SoftLabels {
  struct Row {
    std::string split;
    uint64_t text;
    std::vector<float> p;  // [classes]
  };
  std::vector<std::string> label_names;
  std::vector<Row> rows;

  std::unordered_map<uint64_t, size_t> first_row_of_text() const;
};

void write_soft_labels(const std::filesystem::path& path, const SoftLabels& labels);

// UserError, with file and line, for a file that is none of these.
SoftLabels read_soft_labels(const std::filesystem::path& path);

}  // namespace mpq
