// Initial values, addressed by seed, parameter name and element: the same whatever else the model holds.
#pragma once
#include <vector>

#include "nn/parameters.h"

namespace mpq {

// Weights: normal with this deviation, truncated at two deviations (Devlin et al. 2018). LayerNorm.weight: ones. Else
// zeros.
std::vector<float> initial_values(const Parameter& p, uint64_t seed, double deviation);

}  // namespace mpq
