// The n-gram baseline: logistic regression on features weighted by their log-count ratios (Wang & Manning, "Baselines
// and Bigrams", ACL 2012; with logistic loss in place of the hinge as Mesnil et al., ICLR 2015). More than two classes:
// one against the rest.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/ngrams.h"

namespace mpq {

struct NbLogistic {
  int classes = 0;
  // [outputs][features] with the ratios multiplied in; one output for two classes (the second against the first),
  // else one a class.
  std::vector<std::vector<float>> weights;
  std::vector<float> bias;  // [outputs]

  // [classes], of a row of features; sums to 1. One against the rest: the classes' probabilities, normalised.
  std::vector<double> probabilities(std::span<const int32_t> features) const;
  // [rows * classes]
  std::vector<double> probabilities(const SparseRows& rows) const;
};

// Outputs of a classifier of this many classes.
inline int outputs_of(int classes) { return classes == 2 ? 1 : classes; }

struct LabelledRows {
  const SparseRows& features;
  int64_t feature_count;
  std::span<const int32_t> labels;  // [features.row_count()]
  int classes;
};

// Fits one classifier on each of these choices of rows. A class that a choice lacks has its smoothed share for a
// probability, whatever the features.
std::vector<NbLogistic> fit_nb_logistic(const LabelledRows& data, std::span<const std::vector<int64_t>> choices,
                                        double c);

}  // namespace mpq
