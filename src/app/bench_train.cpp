// mpq bench train, eval and trials: whole steps and evaluations of a session, on reviews of real lengths.
#include <cmath>
#include <fstream>

#include "app/bench_session.h"
#include "app/timed_ops.h"
#include "base/text.h"

namespace mpq {
namespace {
using Json = nlohmann::ordered_json;

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

double steps_of(const Split& split, int batch) { return std::ceil(static_cast<double>(split.row_count()) / batch); }

Json rates(const std::string& job, const BenchContext& context, const Split& split, double flops, const Timing& t,
           int replicas = 1) {
  const double rows = static_cast<double>(split.row_count()) * replicas;
  const double gflops = flops * replicas / t.median * 1e-9, gflops_a_cpu = flops * replicas / t.cpu * 1e-9;
  return {{job + "_rows_per_s", rows / t.median},
          {"best_rows_per_s", rows / t.best},
          {"ms_per_row", t.median / rows * 1e3},
          {"gflops", gflops},
          {"share", gflops / context.ceiling.gflops},
          {"cpu_time_share", context.on_cpu() ? Json(gflops_a_cpu / context.core.gflops) : Json()},
          {"imdb_split_s", kEpochRows / (rows / t.median)},
          {"tokens_per_row", static_cast<double>(split.tokens.size()) / static_cast<double>(split.row_count())},
          {"passes", t.repetitions}};
}

// Beside the ceiling of what binds it: the larger share of the two.
Json op_row(const BenchContext& context, const std::string& name, const TimedOps::Cost& c, double steps, double wall) {
  const double gflops = c.work.flops / c.time.seconds * 1e-9, gb = c.work.bytes / c.time.seconds * 1e-9;
  const double compute = gflops / context.ceiling.gflops, memory = gb / context.ceiling.copy_gb;
  const auto known = [&](bool holds, const Json& value) { return holds ? value : Json(); };
  return {{"op", name},
          {"calls_per_step", static_cast<double>(c.calls) / steps},
          {"launches_per_step", c.time.launches ? Json(*c.time.launches / steps) : Json()},
          {"ms_per_step", c.time.seconds / steps * 1e3},
          {"time_share", c.time.seconds / wall},
          {"gflops", known(c.work.flops > 0, gflops)},
          {"gb_per_s", known(c.work.bytes > 0, gb)},
          {"ceiling_share", known(c.work.bytes > 0, std::max(compute, memory))},
          {"bound_by", known(c.work.bytes > 0, compute > memory ? "multiply-adds" : "memory")}};
}

// The slowest first. `wall` 0: the time outside of the operations is unknown.
Json op_rows(const BenchContext& context, const TimedOps& ops, double steps, double wall) {
  std::vector<std::pair<std::string, TimedOps::Cost>> costs(ops.costs().begin(), ops.costs().end());
  double inside = 0;
  for (const auto& [name, cost] : costs) inside += cost.time.seconds;
  if (wall > 0)
    costs.push_back({"outside of the ops", {.calls = static_cast<int64_t>(steps), .time = {wall - inside, {}}}});
  else
    wall = inside;
  std::sort(costs.begin(), costs.end(),
            [](const auto& a, const auto& b) { return a.second.time.seconds > b.second.time.seconds; });
  Json rows = Json::array();
  for (const auto& [name, cost] : costs) rows.push_back(op_row(context, name, cost, steps, wall));
  return rows;
}

constexpr const char* kOpsNote =
    "where a step's time goes, one operation after the other; bytes: each operand read once, each result written once, "
    "so what stays in a cache can pass the copy's rate";

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
  const double steps = passes * steps_of(split, context.batch);
  return op_rows(context, timed.ops(), steps, context.on_cpu() ? stopwatch.timing().total : 0);
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
  row["step_ms"] = t.median / steps_of(split, context.batch) * 1e3;
  row["peak_memory_mb"] = context.on_cpu() ? peak_memory_mb() : Json();
  row["graph_nodes"] = session->nodes() > 0 ? Json(session->nodes()) : Json();
  const std::string where = context.on_cpu() ? "" : "; " + device->describe();
  return {{"train", describe(context, context.batch) + where, Json::array({row})},
          {"train_ops", kOpsNote, time_operations(context, *device, model, split)}};
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

BenchTables bench_trials(const BenchContext& context) {
  const Bert model(context.model);
  const auto device = context.open();
  const Split train = random_reviews(context, (context.quick ? 2 : 32) * context.batch),
              test = random_reviews(context, (context.quick ? 1 : 8) * device->rows_at_once());
  const auto session = make_session(*device, model, context, parse_linear_spec(context.format), true, context.replicas);
  attach(*session, train, context.batch);
  const double step_s = time_calls(10 * context.budget_s, [&] { train_pass(*session, train, context.batch); }).median /
                        steps_of(train, context.batch);
  const double row_s = time_calls(10 * context.budget_s, [&] { evaluate(*session, test); }).median /
                       static_cast<double>(test.row_count());
  const double epoch_s = step_s * std::ceil(static_cast<double>(kEpochRows) / context.batch),
               eval_s = row_s * kEpochRows;
  return {{"trials",
           fmt::format("computed from measured steps and evaluations, no search was run: an epoch of {0} reviews and "
                       "evaluation of {0} a trial; {1}",
                       kEpochRows, describe(context, context.batch)),
           Json::array({{{"replicas", context.replicas},
                         {"format", context.format},
                         {"step_ms", step_s * 1e3},
                         {"epoch_s", epoch_s},
                         {"eval_s", eval_s},
                         {"trials_per_minute", 60 * context.replicas / (epoch_s + eval_s)}}})}};
}

}  // namespace mpq
