// The n-gram baseline as a whole: vocabulary, weights and the names of the classes; in memory and in a folder.
//
// The folder: baseline.json (labels, the n-grams' order), words.txt (a word a line), model.safetensors ("ngrams" I64
// [features], see data/ngrams.h; "weight" F32 [outputs, features]; "bias" F32 [outputs], see train/nb_logistic.h) and,
// for students, probabilities.tsv (train/soft_labels.h).
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "data/ngrams.h"
#include "train/nb_logistic.h"
#include "train/soft_labels.h"

namespace mpq {

struct NgramClassifier {
  Ngrams ngrams;
  NbLogistic model;
  std::vector<std::string> labels;

  std::vector<double> probabilities(std::span<const std::string> texts) const;  // [texts * classes]
};

// Whether the folder holds a baseline rather than a BERT.
bool is_ngram_classifier(const std::filesystem::path& folder);
std::filesystem::path soft_labels_of(const std::filesystem::path& folder);

// UserError if something stands there that is no baseline.
void check_baseline_target(const std::filesystem::path& folder);
void write_baseline(const std::filesystem::path& folder, const NgramClassifier& classifier,
                    const SoftLabels& soft_labels);
// UserError for a folder that holds none, or a damaged one.
NgramClassifier read_ngram_classifier(const std::filesystem::path& folder);

}  // namespace mpq
