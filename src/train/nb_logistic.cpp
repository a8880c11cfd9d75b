#include "train/nb_logistic.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "train/liblinear.h"

namespace mpq {
namespace {

struct Output {
  std::vector<float> weights;
  float bias;
};

std::vector<int8_t> signs_of(const LabelledRows& data, std::span<const int64_t> rows, int32_t positive) {
  std::vector<int8_t> signs;
  for (int64_t r : rows) signs.push_back(data.labels[static_cast<size_t>(r)] == positive ? 1 : -1);
  return signs;
}

// r = log((p / |p|) / (q / |q|)): p and q count the positive and the negative rows that hold a feature, plus 1.
std::vector<double> log_count_ratios(const LabelledRows& data, std::span<const int64_t> rows,
                                     std::span<const int8_t> signs) {
  const auto count = static_cast<size_t>(data.feature_count);
  std::vector<double> p(count, 1.0), q(count, 1.0);
  for (size_t i = 0; i < rows.size(); ++i)
    for (int32_t f : data.features.row(rows[i])) ++(signs[i] > 0 ? p : q)[static_cast<size_t>(f)];
  double p_sum = 0, q_sum = 0;
  for (size_t f = 0; f < count; ++f) p_sum += p[f], q_sum += q[f];
  for (size_t f = 0; f < count; ++f) p[f] = std::log(p[f] / p_sum / (q[f] / q_sum));
  return p;
}

Output fit(const LabelledRows& data, std::span<const int64_t> rows, int32_t positive, double c) {
  const std::vector<int8_t> signs = signs_of(data, rows, positive);
  const auto positives = std::count(signs.begin(), signs.end(), 1);
  const auto total = static_cast<int64_t>(rows.size());
  if (positives == 0 || positives == total) {
    const double odds = (static_cast<double>(positives) + 1) / (static_cast<double>(total - positives) + 1);
    return {std::vector<float>(static_cast<size_t>(data.feature_count)), static_cast<float>(std::log(odds))};
  }
  const std::vector<double> ratios = log_count_ratios(data, rows, signs);
  const LogisticSolution solution = solve({data.features, rows, signs, ratios, c});
  Output output{{}, static_cast<float>(solution.bias)};
  for (size_t f = 0; f < ratios.size(); ++f)
    output.weights.push_back(static_cast<float>(solution.weights[f] * ratios[f]));
  return output;
}

// Never so near to 0 that the classes' sum could vanish.
double sigmoid(double x) { return 1 / (1 + std::exp(-std::clamp(x, -30.0, 30.0))); }

}  // namespace

std::vector<NbLogistic> fit_nb_logistic(const LabelledRows& data, std::span<const std::vector<int64_t>> choices,
                                        double c) {
  const int outputs = outputs_of(data.classes);
  std::vector<NbLogistic> models(choices.size());
  for (NbLogistic& model : models) {
    model.classes = data.classes;
    model.weights.resize(static_cast<size_t>(outputs));
    model.bias.resize(static_cast<size_t>(outputs));
  }
  parallel_for(static_cast<int64_t>(choices.size()) * outputs, [&](int64_t task) {
    const auto choice = static_cast<size_t>(task / outputs), o = static_cast<size_t>(task % outputs);
    Output output = fit(data, choices[choice], outputs == 1 ? 1 : static_cast<int32_t>(o), c);
    models[choice].weights[o] = std::move(output.weights);
    models[choice].bias[o] = output.bias;
  });
  return models;
}

std::vector<double> NbLogistic::probabilities(std::span<const int32_t> features) const {
  std::vector<double> p;
  for (size_t o = 0; o < weights.size(); ++o) {
    double sum = bias[o];
    for (int32_t f : features) sum += weights[o][static_cast<size_t>(f)];
    p.push_back(sigmoid(sum));
  }
  if (weights.size() == 1) return {1 - p[0], p[0]};
  double total = 0;
  for (double value : p) total += value;
  for (double& value : p) value /= total;
  return p;
}

std::vector<double> NbLogistic::probabilities(const SparseRows& rows) const {
  std::vector<double> all;
  for (int64_t r = 0; r < rows.row_count(); ++r) {
    const std::vector<double> p = probabilities(rows.row(r));
    all.insert(all.end(), p.begin(), p.end());
  }
  return all;
}

}  // namespace mpq
