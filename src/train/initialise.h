// Initial values, addressed by seed, parameter name and element: the same whatever else the model holds.
#pragma once
#include <vector>

#include "nn/bert.h"

namespace mpq {

// Weights: normal with this deviation, truncated at two deviations (Devlin et al. 2018). LayerNorm.weight: ones. Else
// zeros.
std::vector<float> initial_values(const Parameter& p, uint64_t seed, double deviation);

// Bert::adapters of a replica: a uniform in +-1 / sqrt(K) (kaiming_uniform with a = sqrt(5), as PEFT), b zero.
std::vector<float> initial_adapters(const Bert& model, int rank, uint64_t seed);

}  // namespace mpq
