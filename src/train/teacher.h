// A student learns from a teacher: soft targets for the training rows, and for unlabelled rows, which join them.
#pragma once
#include <string>

#include "data/dataset.h"
#include "tensor/device.h"
#include "train/checkpoint.h"
#include "train/soft_labels.h"

namespace mpq {

struct Teaching {
  double alpha = 0.5;      // share of the teacher in a labelled row's target; the label has the rest
  double temperature = 1;  // > 0; the teacher's logits are divided by it (where only probabilities are known, their
                           // logarithms), so that above 1 its opinions are milder
};

// Gives data.train targets: alpha soft + (1 - alpha) label for the labelled rows; then the unlabelled rows, with the
// teacher's opinion alone, are moved behind them. The fingerprint tells such data from others. UserError, naming
// `teacher`, if its classes are others or if it says nothing of a row.
void teach(Dataset& data, const SoftLabels& opinions, const Teaching& teaching, const std::string& teacher);

// What a checkpoint says of the training and the unlabelled rows, in evaluation mode: computed once, before a student's
// first step. UserError if it reads other tokens or shorter texts than the data's.
SoftLabels opinions_of(Device& device, const Checkpoint& checkpoint, const Dataset& data);

}  // namespace mpq
