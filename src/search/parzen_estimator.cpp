#include "search/parzen_estimator.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace mpq {
namespace {

// default_weights of Optuna, the prior's 1 appended, normalised.
std::vector<double> kernel_weights(size_t observations) {
  constexpr size_t recent = 25;
  std::vector<double> weights(observations + 1, 1.0);
  const size_t old = observations > recent ? observations - recent : 0;
  const double first = 1.0 / static_cast<double>(observations);
  const double step = old > 1 ? (1.0 - first) / static_cast<double>(old - 1) : 0;
  for (size_t i = 0; i < old; ++i) weights[i] = i > 0 && i + 1 == old ? 1.0 : first + static_cast<double>(i) * step;
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& w : weights) w /= sum;
  return weights;
}

double log_sum_exp(const std::vector<double>& terms) {
  const double most = *std::max_element(terms.begin(), terms.end());
  double sum = 0;
  for (const double t : terms) sum += std::exp(t - most);
  return most + std::log(sum);
}

}  // namespace

ParzenEstimator::ParzenEstimator(std::vector<std::vector<uint16_t>> observations, const std::vector<size_t>& counts)
    : observed_(std::move(observations)), weights_(kernel_weights(observed_.front().size())) {
  const double alpha = 1.0 / static_cast<double>(weights_.size());  // prior weight over kernels
  for (const size_t count : counts) {
    const double sum = 1 + static_cast<double>(count) * alpha;
    dimensions_.push_back({count, (1 + alpha) / sum, alpha / sum});
  }
}

// #{choices whose cumulative probability is below u}.
uint16_t ParzenEstimator::draw(size_t dimension, size_t kernel, double u) const {
  const Dimension& d = dimensions_[dimension];
  const bool prior = kernel == observations();
  const size_t hit = prior ? d.count : observed_[dimension][kernel];
  const double miss = prior ? 1.0 / static_cast<double>(d.count) : d.miss;
  double cumulative = 0;
  for (size_t c = 0; c + 1 < d.count; ++c) {
    cumulative += c == hit ? d.hit : miss;
    if (cumulative >= u) return static_cast<uint16_t>(c);
  }
  return static_cast<uint16_t>(d.count - 1);
}

std::vector<std::vector<uint16_t>> ParzenEstimator::sample(size_t n, RandomStream& stream) const {
  std::vector<double> cdf(weights_.size());
  std::partial_sum(weights_.begin(), weights_.end(), cdf.begin());
  for (double& c : cdf) c /= cdf.back();
  std::vector<size_t> kernels(n);
  for (size_t& k : kernels) k = std::upper_bound(cdf.begin(), cdf.end(), stream.uniform()) - cdf.begin();
  std::vector<std::vector<uint16_t>> points(dimensions_.size(), std::vector<uint16_t>(n));
  for (size_t d = 0; d < dimensions_.size(); ++d)
    for (size_t i = 0; i < n; ++i) points[d][i] = draw(d, kernels[i], stream.uniform());
  return points;
}

// One dimension: the density takes one value a choice, a weighted histogram.
std::vector<double> ParzenEstimator::log_density_of_choices() const {
  const Dimension& d = dimensions_.front();
  std::vector<double> hits(d.count, 0.0);
  for (size_t k = 0; k < observations(); ++k) hits[observed_.front()[k]] += weights_[k];
  const double all = std::accumulate(weights_.begin(), weights_.end() - 1, 0.0);
  const double prior = weights_.back() / static_cast<double>(d.count);
  for (double& h : hits) h = std::log(prior + all * d.miss + h * (d.hit - d.miss));
  return hits;
}

std::vector<double> ParzenEstimator::log_weights_of_misses() const {
  double misses = 0, prior = std::log(weights_.back());
  for (const Dimension& d : dimensions_) misses += std::log(d.miss), prior -= std::log(static_cast<double>(d.count));
  std::vector<double> terms;
  for (const double w : weights_) terms.push_back(std::log(w) + misses);
  terms.back() = prior;
  return terms;
}

// Adds to every kernel what it gains where the point hits its observation; returns the logarithm of the sum.
double ParzenEstimator::log_density(std::vector<double> terms, const std::vector<std::vector<uint16_t>>& points,
                                    size_t point) const {
  for (size_t d = 0; d < dimensions_.size(); ++d) {
    std::vector<double> gain(dimensions_[d].count, 0.0);
    gain[points[d][point]] = std::log(dimensions_[d].hit / dimensions_[d].miss);
    const uint16_t* observed = observed_[d].data();
    for (size_t k = 0; k < observations(); ++k) terms[k] += gain[observed[k]];
  }
  return log_sum_exp(terms);
}

std::vector<double> ParzenEstimator::log_density(const std::vector<std::vector<uint16_t>>& points) const {
  std::vector<double> density(points.front().size());
  if (dimensions_.size() == 1) {
    const std::vector<double> table = log_density_of_choices();
    for (size_t i = 0; i < density.size(); ++i) density[i] = table[points.front()[i]];
    return density;
  }
  const std::vector<double> misses = log_weights_of_misses();
  for (size_t i = 0; i < density.size(); ++i) density[i] = log_density(misses, points, i);
  return density;
}

}  // namespace mpq
