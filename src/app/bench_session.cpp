// mpq bench train, eval and qat: whole steps of a session on reviews of real lengths.
#include <fmt/format.h>

#include <cmath>
#include <fstream>

#include "app/bench.h"
#include "app/timed_ops.h"
#include "base/philox.h"
#include "base/text.h"
#include "train/trainer.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

constexpr int64_t kEpochRows = 25000;     // IMDb's training split
constexpr int64_t kTableSteps = 1 << 16;  // more steps than any measurement takes

// Random tokens and labels; the lengths are evenly spaced quantiles of the given ones, in random order, so that few
// rows have the distribution of all.
Split random_reviews(const BenchContext& context, int64_t rows) {
  std::vector<int> sorted = context.lengths;
  std::sort(sorted.begin(), sorted.end());
  Split split;
  for (const int64_t quantile : epoch_order(rows, 1, 0)) {
    const int length =
        sorted[static_cast<size_t>((2 * quantile + 1) * static_cast<int64_t>(sorted.size()) / (2 * rows))];
    for (int i = 0; i < length; ++i) {
      const Philox random = philox(static_cast<uint32_t>(split.tokens.size()), 0, 0, 0, 2, 0);
      split.tokens.push_back(static_cast<int32_t>(random.word[0] % static_cast<uint32_t>(context.model.vocabulary)));
    }
    split.row_starts.push_back(static_cast<int64_t>(split.tokens.size()));
    split.labels.push_back(static_cast<int32_t>(split.labels.size() % static_cast<size_t>(context.model.classes)));
  }
  return split;
}

// Floating-point operations of the products of one forward pass, exact for each row's length. Only [CLS] is computed in
// the last layer beyond K and V; pooler and classifier are left out. Training takes three times that (gradients of both
// factors): 13.2 TFLOP an epoch of IMDb for bert-tiny.
double forward_flops(const BertConfig& c, const Split& split, bool cls_only = true) {
  const double h = c.hidden, f = c.ffn;
  double flops = 0;
  for (int64_t r = 0; r < split.row_count(); ++r) {
    const auto n = static_cast<double>(split.row(r).size());
    const double whole_layer = n * (8 * h * h + 4 * h * f) + 4 * h * n * n;
    const double last_layer = 4 * h * h * n + 4 * h * n + 4 * h * h + 4 * h * f;
    flops += (c.layers - 1) * whole_layer + (cls_only ? last_layer : whole_layer);
  }
  return flops;
}

std::unique_ptr<Session> make_session(Device& device, const Bert& model, const BenchContext& context,
                                      const LinearSpec& spec, bool training, int replicas = 1) {
  const Replica replica{.schedule = {.steps = training ? kTableSteps : 0},
                        .formats = std::vector<LinearSpec>(model.linears().size(), spec)};
  auto session = std::make_unique<Session>(
      device, model, std::vector(replicas, replica),
      SessionOptions{.batch_rows = context.batch, .max_tokens = model.config().positions, .training = training});
  for (int r = 0; r < replicas; ++r) session->initialise(r);
  return session;
}

// The split again and again, in the data's own order, for as many steps as the tables hold.
void attach(Session& session, const Split& split, int64_t batch_rows) {
  StepOrder order;
  for (int64_t row = 0; order.steps() < kTableSteps;
       row = row + batch_rows < split.row_count() ? row + batch_rows : 0) {
    for (int64_t r = row; r < std::min(split.row_count(), row + batch_rows); ++r)
      order.order.push_back(static_cast<int32_t>(r));
    order.first.push_back(static_cast<int64_t>(order.order.size()));
  }
  session.attach(split, std::move(order));
}

void train_pass(Session& session, const Split& split, int64_t batch_rows) {
  session.train_steps((split.row_count() + batch_rows - 1) / batch_rows);
}

// The largest resident set since reset_peak_memory; null where the system does not tell.
void reset_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }
Json peak_memory_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:"))
      if (const auto kb = parse_int(trim(std::string_view(line).substr(6, line.size() - 8))))
        return static_cast<double>(*kb) / 1024;
  return {};
}

Json rates(const std::string& job, const BenchContext& context, const Split& split, double flops, const Timing& t,
           int replicas = 1) {
  const double rows = static_cast<double>(split.row_count()) * replicas;
  const double gflops = flops * replicas / t.median * 1e-9, gflops_a_cpu = flops * replicas / t.cpu * 1e-9;
  return {{job + "_rows_per_s", rows / t.median},
          {"best_rows_per_s", rows / t.best},
          {"ms_per_row", t.median / rows * 1e3},
          {"gflops", gflops},
          {"share", context.share(gflops)},
          {"cpu_time_share", context.on_cpu() ? Json(gflops_a_cpu / context.ceiling.core_gflops) : Json()},
          {"imdb_split_s", kEpochRows / (rows / t.median)},
          {"tokens_per_row", static_cast<double>(split.tokens.size()) / static_cast<double>(split.row_count())},
          {"passes", t.repetitions}};
}

Json op_rows(const BenchContext& context, const TimedOps& ops, double steps, double wall) {
  std::vector<std::pair<std::string, TimedOps::Cost>> costs(ops.costs().begin(), ops.costs().end());
  double inside = 0;
  for (const auto& [name, cost] : costs) inside += cost.seconds;
  if (wall > 0)
    costs.push_back({"outside of the ops", {static_cast<int64_t>(steps), wall - inside, 0}});
  else
    wall = inside;
  std::sort(costs.begin(), costs.end(),
            [](const auto& a, const auto& b) { return a.second.seconds > b.second.seconds; });
  Json rows = Json::array();
  for (const auto& [name, c] : costs) {
    const Json gflops = c.flops > 0 ? Json(c.flops / c.seconds * 1e-9) : Json();
    rows.push_back({{"op", name},
                    {"calls_per_step", static_cast<double>(c.calls) / steps},
                    {"ms_per_step", c.seconds / steps * 1e3},
                    {"time_share", c.seconds / wall},
                    {"gflops", gflops},
                    {"ceiling_share", c.flops > 0 ? context.share(gflops.get<double>()) : Json()}});
  }
  return rows;
}

// Every operation of some steps by itself; on a GPU as a node of a graph, behind another of its kind.
Json time_operations(const BenchContext& context, Device& device, const Bert& model, const Split& split) {
  TimedDevice timed(device);
  const auto session = make_session(timed, model, context, parse_linear_spec(context.format), true, context.replicas);
  attach(*session, split, context.batch);
  train_pass(*session, split, context.batch);
  timed.ops().reset();
  constexpr int passes = 4;
  Stopwatch stopwatch;
  for (int i = 0; i < passes; ++i) stopwatch.time([&] { train_pass(*session, split, context.batch); });
  const double steps = passes * std::ceil(static_cast<double>(split.row_count()) / context.batch);
  return op_rows(context, timed.ops(), steps, context.on_cpu() ? stopwatch.timing().total : 0);
}

std::string describe(const BenchContext& context, int batch) {
  const BertConfig& c = context.model;
  return fmt::format("{} layers, hidden {}, batch {}, {}, random tokens", c.layers, c.hidden, batch,
                     context.lengths_from);
}

}  // namespace

BenchTables bench_train(const BenchContext& context) {
  reset_peak_memory();
  const Split split = random_reviews(context, (context.quick ? 2 : 32) * context.batch);
  const Bert model(context.model);
  const auto device = context.open();
  const auto session = make_session(*device, model, context, parse_linear_spec(context.format), true, context.replicas);
  attach(*session, split, context.batch);
  const Timing t = time_calls(20 * context.budget_s, [&] { train_pass(*session, split, context.batch); });
  Json row = rates("train", context, split, 3 * forward_flops(context.model, split), t, context.replicas);
  row["peak_memory_mb"] = context.on_cpu() ? peak_memory_mb() : Json();
  row["graph_nodes"] = session->nodes() > 0 ? Json(session->nodes()) : Json();
  return {{"train", describe(context, context.batch), Json::array({row})},
          {"train_ops", "where a step's time goes, one operation after the other",
           time_operations(context, *device, model, split)}};
}

BenchTables bench_eval(const BenchContext& context) {
  const Bert model(context.model);
  const auto device = context.open();
  const int rows_at_once = device->rows_at_once();
  const Split split = random_reviews(context, (context.quick ? 2 : 32) * rows_at_once);
  const auto session = make_session(*device, model, context, {}, false);
  const Timing t = time_calls(10 * context.budget_s, [&] { evaluate(*session, split); });
  return {{"eval", describe(context, rows_at_once),
           Json::array({rates("eval", context, split, forward_flops(context.model, split), t)})}};
}

namespace {

bool has_tiles(const QuantSpec& spec) {
  return visit(spec, [](const auto& parameters) { return TileFormat<std::remove_cvref_t<decltype(parameters)>>; });
}

// Steps of the float model and of the family's take turns, so that a busy moment hurts both.
Json compare(const BenchContext& context, Device& device, const Bert& model, const Split& split, const Family& family) {
  const LinearSpec spec = parse_linear_spec(family.choices[0]);
  const auto with_float = make_session(device, model, context, {}, true),
             with_family = make_session(device, model, context, spec, true);
  attach(*with_float, split, context.batch);
  attach(*with_family, split, context.batch);
  Stopwatch warm_up, float_steps, family_steps;
  const int64_t batches = split.row_count() / context.batch, at_once = context.on_cpu() ? 1 : batches;
  for (int64_t i = 0; i < 2 * batches || i % batches != 0 ||
                      float_steps.timing().total + family_steps.timing().total < 6 * context.budget_s;
       i += at_once) {
    (i < batches ? warm_up : float_steps).time([&] { with_float->train_steps(at_once); });
    (i < batches ? warm_up : family_steps).time([&] { with_family->train_steps(at_once); });
  }
  const Timing a = float_steps.timing(), b = family_steps.timing();
  const FormatTable formats(model, {std::vector(model.linears().size(), spec)});
  // Where a format of the last layer has to see every row, its forward (and, for an output's format, its gradient) is
  // that of a whole layer, at most.
  const bool gradient_cls = !formats.output_over_sequence(),
             forward_cls = gradient_cls && !formats.input_over_sequence();
  const double flops_ratio =
      (forward_flops(context.model, split, forward_cls) + 2 * forward_flops(context.model, split, gradient_cls)) /
      (3 * forward_flops(context.model, split));
  return {{"format", family.choices[0]},
          {"family", family.name},
          {"float_ms", a.median / static_cast<double>(at_once) * 1e3},
          {"family_ms", b.median / static_cast<double>(at_once) * 1e3},
          {"ratio", b.median / a.median},
          {"cpu_ratio", b.cpu / a.cpu},
          {"target", has_tiles(spec.x) ? 1.6 : 1.3},
          {"flops_ratio", flops_ratio},
          {"steps", b.repetitions * at_once}};
}

}  // namespace

BenchTables bench_qat(const BenchContext& context) {
  const Split split = random_reviews(context, (context.quick ? 1 : 4) * context.batch);
  const Bert model(context.model);
  const auto device = context.open();
  BenchTable table{"qat",
                   "a quantization-aware step (every Linear) beside the float step, ratio of medians; flops_ratio is "
                   "above 1 where a format looks over the whole sequence, which the "
                   "last layer then computes; " +
                       describe(context, context.batch)};
  for (const Family& family : families())
    if (family.name != "none") table.rows.push_back(compare(context, *device, model, split, family));
  return {table};
}

}  // namespace mpq
