// mpq bench follow: one training run on the CPU, there again with its sums in the opposite order, and on --device.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "app/bench.h"
#include "data/dataset.h"
#include "train/mirror.h"
#include "train/trainer.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

// The labs' recipe, one epoch of it; of which the first steps are run.
struct Course {
  const Split& split;
  StepOrder order;
  SessionOptions options;
  int64_t steps;
  bool mirrored = false;
};

// The same batches with their rows the other way round.
StepOrder rows_reversed(StepOrder order) {
  for (int64_t step = 0; step < order.steps(); ++step)
    std::reverse(order.order.begin() + order.first[step], order.order.begin() + order.first[step + 1]);
  return order;
}

std::vector<float> losses(Device& device, const BertConfig& config, const Course& course) {
  const Bert model(config);
  const Replica replica{.schedule = {.steps = course.order.steps()},
                        .formats = std::vector<LinearSpec>(model.linears().size())};
  Session session(device, model, {replica}, course.options);
  session.initialise();
  if (course.mirrored) mirror(session, 0);
  session.attach(course.split, course.order);
  std::vector<float> losses;
  for (const Session::StepResult& step : session.train_steps(course.steps)) losses.push_back(step.loss[0]);
  return losses;
}

struct Difference {
  double largest = 0, mean = 0;
  Difference(const std::vector<float>& a, const std::vector<float>& b) {
    for (size_t i = 0; i < a.size(); ++i) {
      const double d = std::abs(static_cast<double>(a[i]) - b[i]);
      if (!(d <= largest) && !std::isnan(largest)) largest = d;  // NaN stays
      mean += d / static_cast<double>(a.size());
    }
  }
};

Json row(const std::string& run, const BertConfig& config, const Difference& d, const Json& ratio) {
  return {{"run", run},           {"dropout", config.hidden_dropout},
          {"largest", d.largest}, {"mean", d.mean},
          {"ratio", ratio},       {"within", ratio.is_null() ? Json() : Json(ratio.get<double>() <= 2)}};
}

// Of the largest differences. Two runs that agree to the last bit of a loss may still be half a bit apart.
double ratio_of(const Difference& d, const Difference& yardstick, float loss) {
  const double last_bit = std::nextafter(loss, INFINITY) - loss;
  return d.largest / std::max(yardstick.largest, last_bit);
}

// Dropout goes by the places of rows and units, so it is off where these change.
Json follow(const BenchContext& context, BertConfig config, const Course& course) {
  const auto cpu = open_device("cpu"), device = context.open();
  Json rows = Json::array();
  config.hidden_dropout = config.attention_dropout = 0;
  const auto reference = losses(*cpu, config, course);
  Course reversed = course;
  reversed.order = rows_reversed(course.order), reversed.mirrored = true;
  const Difference other_order(reference, losses(*cpu, config, reversed)),
      other_device(reference, losses(*device, config, course));
  rows.push_back(row("cpu, sums in the opposite order", config, other_order, {}));
  rows.push_back(row(context.device, config, other_device, ratio_of(other_device, other_order, reference[0])));
  config.hidden_dropout = config.attention_dropout = BertConfig{}.hidden_dropout;
  const Difference with_dropout(losses(*cpu, config, course), losses(*device, config, course));
  rows.push_back(row(context.device, config, with_dropout, {}));
  return rows;
}

}  // namespace

BenchTables bench_follow(const BenchContext& context) {
  const Dataset data = load_dataset({.data = context.data.empty() ? DataOptions{}.data : context.data,
                                     .tokenizer = context.tokenizer,
                                     .max_tokens = context.model.positions,
                                     .merge_valid_into_train = true});
  BertConfig config = context.model;
  config.vocabulary = data.tokenizer->vocab_size();
  config.classes = static_cast<int>(data.label_names.size());
  Course course{.split = data.train,
                .order = TrainPlan{.batch = context.batch}.order(data.train.row_count()),
                .options = {.batch_rows = context.batch, .max_tokens = config.positions}};
  course.steps = std::min<int64_t>(context.quick ? 20 : 100, course.order.steps());
  return {{"follow",
           fmt::format("differences from the CPU's losses over {} steps; {} layers, hidden {}, batch {}; {}",
                       course.steps, config.layers, config.hidden, context.batch, data.description),
           follow(context, config, course)}};
}

}  // namespace mpq
