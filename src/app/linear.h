// One quantized Linear on tensors given from outside, forward and backward: golden vectors for hardware people.
// x is quantized as a whole, as MASE does (in the encoder every sequence is quantized alone).
#pragma once
#include <vector>

#include "quant/linear_spec.h"
#include "tensor/device.h"

namespace mpq {

struct LinearCase {
  std::vector<int64_t> x_shape;  // [rows, inputs] or [batch, rows, inputs]
  int64_t outputs = 0;
  std::vector<float> x, weight, bias;  // weight [outputs, inputs]; bias [outputs] or empty
  std::vector<float> grad_y;           // shape of y; or empty: forward only
  std::vector<float> means;            // what x's format trains; empty: its initial values
  float gamma = 1;                     // scales the weight where x's format trains something

  int64_t inputs() const { return x_shape.back(); }
  int64_t rows() const { return x_shape.size() == 3 ? x_shape[0] * x_shape[1] : x_shape[0]; }
};

struct LinearResult {
  std::vector<float> xq, wq, bq;  // what the product sees
  std::vector<float> y;
  std::vector<float> grad_x, grad_weight, grad_bias;  // empty without grad_y (and grad_bias without bias)
  std::vector<float> grad_means, grad_gamma;          // empty where the format trains nothing
};

// The straight-through estimator's gradients: grad_x = grad_y wq, grad_weight = grad_y^T xq, grad_bias = sum of grad_y,
// masked where x's format masks them (binary_residual).
LinearResult run_linear_case(Device& device, const LinearCase& c, const LinearSpec& spec);

}  // namespace mpq
