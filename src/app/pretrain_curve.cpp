#include "app/pretrain_curve.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "app/figure.h"
#include "base/file.h"

namespace mpq {
namespace {

// Single steps differ by their batches: every point is the mean of a few.
Curve smoothed(const PretrainCurve& curve) {
  constexpr size_t kPoints = 200;
  const size_t steps = curve.loss.size(), few = std::max<size_t>(1, steps / kPoints);
  Curve line{.name = fmt::format("training, mean of {} steps", few)};
  for (size_t first = 0; first + few <= steps; first += few) {
    const auto at = curve.loss.begin() + static_cast<int64_t>(first);
    line.x.push_back(curve.tokens[first + few - 1] * 1e-6);
    line.y.push_back(std::accumulate(at, at + static_cast<int64_t>(few), 0.0) / static_cast<double>(few));
  }
  return line;
}

}  // namespace

void PretrainCurve::write(const std::filesystem::path& folder) const {
  std::string text = "step\ttokens\tloss\tnorm\n";
  for (size_t i = 0; i < loss.size(); ++i)
    text += fmt::format("{}\t{:.0f}\t{:.9g}\t{:.9g}\n", i + 1, tokens[i], loss[i], norm[i]);
  write_file_atomic(folder / "loss.tsv", text);
}

void PretrainCurve::draw(const std::filesystem::path& folder) const {
  if (loss.empty()) return;
  Figure figure{.title = "Masked language modelling: loss by tokens seen",
                .x_title = "tokens seen (millions)",
                .y_title = "cross-entropy of masked tokens (nats)",
                .curves = {smoothed(*this)}};
  const double end = tokens.back() * 1e-6;
  if (held_out)
    figure.curves.push_back({.name = "held-out texts", .x = {end}, .y = {*held_out}, .look = Curve::Look::points});
  if (unigram)
    figure.curves.push_back(
        {.name = "frequencies of tokens", .x = {0, end}, .y = {*unigram, *unigram}, .look = Curve::Look::control});
  write_figure(figure, folder, "loss");
}

}  // namespace mpq
