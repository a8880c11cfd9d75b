#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/parallel.h"

namespace mpq {

int64_t TrainPlan::steps(int64_t rows) const {
  const int64_t per_epoch = (rows + batch - 1) / batch;
  return static_cast<int64_t>(std::ceil(epochs * static_cast<double>(per_epoch)));
}

StepOrder TrainPlan::order(int64_t rows) const {
  Loader loader(rows, batch, data_seed);
  StepOrder result;
  const int64_t per_epoch = loader.steps_per_epoch();
  for (int64_t step = 0; step < steps(rows); ++step) {
    const auto next = loader.rows(step / per_epoch, step % per_epoch);
    result.order.insert(result.order.end(), next.begin(), next.end());
    result.first.push_back(static_cast<int64_t>(result.order.size()));
  }
  return result;
}

void train(Session& session, const Split& split, const TrainPlan& plan, const AfterSteps& after) {
  const int64_t steps = plan.pause > 0 ? plan.pause : plan.steps(split.row_count());
  if (session.step() >= steps) return;
  session.attach(split, plan.order(split.row_count()));
  take_steps(session, steps, plan.stop_every, after);
}

void take_steps(Session& session, int64_t end, int64_t stop_every, const AfterSteps& after) {
  using Clock = std::chrono::steady_clock;
  for (int64_t at_once = 1; session.step() < end;) {
    const int64_t first = session.step();
    int64_t last = std::min(end, first + at_once);
    if (stop_every > 0) last = std::min(last, (first / stop_every + 1) * stop_every);
    const auto start = Clock::now();
    const auto results = session.train_steps(last - first);
    if (Clock::now() - start < std::chrono::milliseconds(50)) at_once *= 2;
    if (after) after({first, results});
  }
}

int64_t Evaluation::correct() const {
  int64_t n = 0;
  for (size_t i = 0; i < labels.size(); ++i) n += predicted[i] == labels[i];
  return n;
}
double Evaluation::accuracy() const {
  return labels.empty() ? 0 : static_cast<double>(correct()) / static_cast<double>(labels.size());
}

namespace {

void add_row(Evaluation& e, const float* logits, int classes, int32_t label) {
  const float* top = std::max_element(logits, logits + classes);
  double sum = 0;
  for (int c = 0; c < classes; ++c) {
    sum += std::exp(static_cast<double>(logits[c]) - *top);
    e.finite &= std::isfinite(logits[c]);
  }
  e.loss += std::log(sum) - (static_cast<double>(logits[label]) - *top);
  e.predicted.push_back(static_cast<int32_t>(top - logits));
}

Evaluation evaluation_of(const std::vector<float>& logits, int classes, const Split& split) {
  Evaluation e{.predicted = {}, .labels = split.labels};
  e.predicted.reserve(split.labels.size());
  for (int64_t row = 0; row < split.row_count(); ++row) add_row(e, &logits[row * classes], classes, split.labels[row]);
  e.loss /= std::max<double>(1, static_cast<double>(split.row_count()));
  return e;
}

}  // namespace

std::vector<Evaluation> evaluate(Session& session, const Split& split, const std::function<void(int64_t)>& progress) {
  const int classes = session.model().config().classes;
  const auto logits = session.logits(split, progress);
  std::vector<Evaluation> results(session.replicas());
  parallel_for(session.replicas(), [&](int64_t r) { results[r] = evaluation_of(logits[r], classes, split); });
  return results;
}

double majority_share(const Split& split) {
  std::vector<int64_t> counts;
  for (const int32_t label : split.labels) {
    if (label >= static_cast<int32_t>(counts.size())) counts.resize(label + 1);
    ++counts[label];
  }
  if (counts.empty()) return 0;
  return static_cast<double>(*std::max_element(counts.begin(), counts.end())) / static_cast<double>(split.row_count());
}

std::vector<std::vector<int64_t>> confusion(const Evaluation& e, int classes) {
  std::vector<std::vector<int64_t>> matrix(classes, std::vector<int64_t>(classes, 0));
  for (size_t i = 0; i < e.labels.size(); ++i) ++matrix[e.labels[i]][e.predicted[i]];
  return matrix;
}

double macro_f1(const std::vector<std::vector<int64_t>>& m) {
  double sum = 0;
  for (size_t c = 0; c < m.size(); ++c) {
    int64_t row = 0, column = 0;
    for (size_t k = 0; k < m.size(); ++k) row += m[c][k], column += m[k][c];
    if (row + column > 0) sum += 2.0 * static_cast<double>(m[c][c]) / static_cast<double>(row + column);
  }
  return m.empty() ? 0 : sum / static_cast<double>(m.size());
}

}  // namespace mpq
