// One trial of a search: base weights and a table of specs -> train -> evaluate.
#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "app/training.h"
#include "tensor/device.h"

namespace mpq {

struct TrialResult {
  Evaluation selection;   // of the split that selects
  bool diverged = false;  // a loss, a norm or a logit that is not finite: it counts as the majority class
  double value = 0;       // accuracy of the selection split
  double seconds = 0;
};

// Runs trials that share everything but their formats. All use one training seed, so equal formats give equal bits.
class TrialRunner {
 public:
  TrialRunner(Device& device, const Setup& setup, const TrainArgs& train, const Split& selection);

  // Trains with these formats, evaluates, and if `keep` says so writes the model there. Throws Stopped.
  using Keep = std::function<std::optional<std::filesystem::path>(const TrialResult&)>;
  TrialResult run(const std::vector<LinearSpec>& formats, uint64_t seed, const Keep& keep, const std::function<void()>& alive);

  // Evaluates a model that `run` kept.
  Evaluation evaluate_kept(const std::filesystem::path& folder, const Split& split, const std::string& what);

  const Bert& model() const { return model_; }

 private:
  Device& device_;
  const Setup& setup_;
  const TrainArgs& train_;
  const Split& selection_;
  Bert model_;
  TrainPlan plan_;
};

}  // namespace mpq
