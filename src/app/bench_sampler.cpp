// mpq bench sampler: what it takes to ask for the next trial of a long study.
#include <fmt/format.h>

#include "app/bench.h"
#include "search/memory_storage.h"
#include "search/study.h"

namespace mpq {
namespace {

constexpr int kParameters = 14;  // the Linears of bert-tiny
constexpr int kChoices = 10;

SearchSpace per_layer_space() {
  SearchSpace space;
  std::vector<std::string> choices;
  for (int c = 0; c < kChoices; ++c) choices.push_back(fmt::format("choice {}", c));
  for (int p = 0; p < kParameters; ++p) space.emplace_back(fmt::format("layer.{:02}", p), categorical(choices));
  return space;
}

// A value with structure: each parameter has a best choice of its own.
double value_of(const Trial& trial) {
  double value = 0;
  int p = 0;
  for (const TrialParameter& parameter : trial.record().params) {
    const double miss = parameter.value - (p++ * 3 % kChoices);
    value -= miss * miss;
  }
  return value;
}

nlohmann::ordered_json measure(const BenchContext& context, bool multivariate, int64_t trials) {
  MemoryStorage storage;
  Study study(storage, {.name = "bench",
                        .sampler = {.name = "tpe", .seed = 42, .multivariate = multivariate},
                        .trials = 1 << 20,
                        .space = per_layer_space()});
  Stopwatch stopwatch;
  const int asked = context.quick ? 5 : 50;
  for (int64_t number = 0; number < trials + asked; ++number) {
    std::vector<Trial> wave;
    const auto ask = [&] { wave = study.ask(trials + asked); };
    if (number < trials)
      ask();
    else
      stopwatch.time(ask);
    study.tell(wave.at(0), value_of(wave[0]));
  }
  const Timing t = stopwatch.timing();
  return {{"sampler", multivariate ? "tpe, multivariate" : "tpe, univariate"},
          {"trials", trials},
          {"parameters", kParameters},
          {"choices", kChoices},
          {"ask_ms", t.median * 1e3},
          {"best_ask_ms", t.best * 1e3},
          {"best_value", study.best_trial()->values[0]}};
}

}  // namespace

BenchTables bench_sampler(const BenchContext& context) {
  const int64_t trials = context.quick ? 100 : 1000;
  BenchTable table{"sampler",
                   "one ask (all parameters of the next trial) of a study that holds so many trials, in memory"};
  for (const bool multivariate : {true, false}) table.rows.push_back(measure(context, multivariate, trials));
  return {table};
}

}  // namespace mpq
