#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace mpq {

Decay parse_decay(const std::string& text) {
  if (text == "linear") return Decay::linear;
  if (text == "cosine") return Decay::cosine;
  if (text == "constant") return Decay::constant;
  throw UserError(fmt::format("--decay {}: no such schedule", text), "allowed: linear, cosine, constant");
}

double Schedule::rate(int64_t step) const {
  if (step < warmup_steps)
    return learning_rate * static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, warmup_steps));
  if (decay == Decay::constant) return learning_rate;
  const double left =
      static_cast<double>(steps - step) / static_cast<double>(std::max<int64_t>(1, steps - warmup_steps));
  if (decay == Decay::linear) return learning_rate * std::max(0.0, left);
  return learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * (1 - left)));
}

AdamWRow adamw_row(const Schedule& s, double beta1, double beta2) {
  AdamWRow row;
  double power1 = 1, power2 = 1;
  for (int64_t t = 0; t < s.steps; ++t) {
    power1 *= beta1, power2 *= beta2;
    row.rate.push_back(static_cast<float>(s.rate(t) / (1 - power1)));
    row.inverse_root.push_back(static_cast<float>(1 / std::sqrt(1 - power2)));
    row.keep.push_back(static_cast<float>(1 - s.rate(t) * s.weight_decay));
  }
  return row;
}

}  // namespace mpq
