// optuna/tpe_traces.json: runs of Optuna's TPESampler. Multivariate: a study that runs freely makes every choice.
// Univariate: Optuna breaks exact ties of scores by the last bits of its machine, so every trial is suggested from the
// trace's own history, and another choice than the trace's must be a candidate of the same score.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "reference/reference.h"
#include "search/tpe_sampler.h"

namespace mpq::reference {
namespace {

constexpr double kTie = 1e-9;

struct Trace {
  std::string name;
  bool multivariate;
  uint32_t seed;
  Direction direction;
  std::vector<std::vector<double>> table;  // [layer][choice]: the objective is the sum of the chosen entries
  std::vector<std::vector<int>> trials;    // [trial][layer]
  std::vector<std::string> layers;
  std::shared_ptr<const Distribution> distribution;
};

Trace read_trace(const nlohmann::json& run) {
  Trace trace{.multivariate = run.at("multivariate"),
              .seed = run.at("seed"),
              .direction = run.at("direction") == "maximize" ? Direction::maximize : Direction::minimize,
              .table = run.at("table"),
              .trials = run.at("trials")};
  std::vector<std::string> choices;
  for (int c = 0; c < run.at("choices").get<int>(); ++c) choices.push_back(std::to_string(c));
  trace.distribution = std::make_shared<const Distribution>(categorical(choices));
  for (size_t i = 0; i < trace.table.size(); ++i) trace.layers.push_back(fmt::format("layer{:02}", i));
  trace.name = fmt::format("{} seed {} {} {}x{}", trace.multivariate ? "multivariate" : "univariate", trace.seed,
                           to_text(trace.direction), trace.layers.size(), choices.size());
  return trace;
}

FrozenTrial finished(const Trace& trace, size_t number, const std::vector<int>& choices) {
  FrozenTrial trial;
  trial.number = static_cast<int64_t>(number);
  trial.state = TrialState::complete;
  double value = 0;
  for (size_t i = 0; i < choices.size(); ++i) {
    trial.params.push_back({trace.layers[i], trace.distribution, static_cast<double>(choices[i])});
    value += trace.table[i].at(static_cast<size_t>(choices[i]));
  }
  trial.values = {value};
  return trial;
}

// The trace's choice was a candidate of the sampler's decision, with the winner's score.
bool is_tie(const TpeDecision& decision, int choice) {
  if (decision.choices.empty()) return false;  // a random choice of the start-up
  const auto& candidates = decision.choices.front();
  const auto at = std::find(candidates.begin(), candidates.end(), choice) - candidates.begin();
  return at < static_cast<std::ptrdiff_t>(candidates.size()) &&
         std::abs(decision.scores[static_cast<size_t>(at)] - decision.scores[decision.winner]) < kTie;
}

void check_trace(const Trace& trace, Result& result) {
  TpeSampler sampler(trace.seed, trace.multivariate);
  std::vector<FrozenTrial> history;
  for (size_t n = 0; n < trace.trials.size(); ++n) {
    sampler.begin({history, n, trace.direction});
    std::vector<int> chosen;
    for (size_t i = 0; i < trace.layers.size(); ++i) {
      const int expected = trace.trials[n].at(i);
      chosen.push_back(static_cast<int>(sampler.suggest(trace.layers[i], trace.distribution)));
      ++result.cases;
      if (chosen[i] == expected || (!trace.multivariate && is_tie(sampler.last_decision(), expected))) continue;
      result.mismatch(
          fmt::format("{}, trial {}, {}: choice {}, Optuna {}", trace.name, n, trace.layers[i], chosen[i], expected));
    }
    history.push_back(finished(trace, n, trace.multivariate ? chosen : trace.trials[n]));
  }
}

}  // namespace

Result check_tpe_traces(const Setting& setting) {
  Result result{.group = "tpe_traces"};
  const auto path = setting.folder / "optuna" / "tpe_traces.json";
  result.found = std::filesystem::exists(path);
  if (!result.found) return result;
  for (const auto& run : nlohmann::json::parse(read_file(path))) check_trace(read_trace(run), result);
  return result;
}

}  // namespace mpq::reference
