// The course of a pretraining: loss.tsv, and a figure of the loss over the tokens seen.
#pragma once
#include <filesystem>
#include <optional>
#include <vector>

namespace mpq {

struct PretrainCurve {
  std::vector<double> tokens;  // seen after each step
  std::vector<float> loss, norm;
  std::optional<double> held_out, unigram;  // losses at the end

  void write(const std::filesystem::path& folder) const;
  void draw(const std::filesystem::path& folder) const;
};

}  // namespace mpq
