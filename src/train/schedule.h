// Learning-rate schedules, and what AdamW reads of a step, for every step of a run.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace mpq {

enum class Decay { linear, cosine, constant };
Decay parse_decay(const std::string& text);  // UserError

struct Schedule {
  double learning_rate = 5e-5;
  double weight_decay = 0;
  int64_t warmup_steps =
      0;  // rises from 0: step s < warmup has rate s / warmup (Hugging Face's get_linear_schedule_with_warmup)
  int64_t steps = 0;
  Decay decay = Decay::linear;

  double rate(int64_t step) const;  // from 0
};

struct AdamWRow {
  std::vector<float> rate, inverse_root, keep;  // [steps], tensor/ops.h AdamWTable
};
AdamWRow adamw_row(const Schedule& schedule, double beta1, double beta2);

}  // namespace mpq
