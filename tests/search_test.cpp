// Samplers and studies on toy functions. What Optuna chooses is in golden/optuna_search.json (make_optuna_search.py).
#include "search/study.h"

#include <fmt/format.h>

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "search/grid_sampler.h"
#include "search/memory_storage.h"
#include "search/random_sampler.h"
#include "search/tpe_sampler.h"

namespace mpq {
namespace {

using nlohmann::json;
using Choices = std::vector<int>;

const json& golden() {
  static const json value = json::parse(read_file(MPQ_SOURCE_DIR "/tests/golden/optuna_search.json"));
  return value;
}

SearchSpace layer_space(size_t layers, size_t choices) {
  std::vector<std::string> names;
  for (size_t c = 0; c < choices; ++c) names.push_back("c" + std::to_string(c));
  SearchSpace space;
  for (size_t i = 0; i < layers; ++i) space.emplace_back(fmt::format("layer{:02}", i), categorical(names));
  return space;
}

Choices indices(const FrozenTrial& trial) {
  Choices chosen;
  for (const TrialParameter& p : trial.params) chosen.push_back(static_cast<int>(p.value));
  return chosen;
}

std::vector<Choices> all_indices(const Study& study) {
  std::vector<Choices> chosen;
  for (const FrozenTrial& trial : study.trials()) chosen.push_back(indices(trial));
  return chosen;
}

TEST(Search, RandomStreamIsRandomState) {  // numpy.random.RandomState(5).random_sample(3)
  RandomStream stream(5);
  EXPECT_EQ(stream.uniform(), 0.22199317108973948);
  EXPECT_EQ(stream.uniform(), 0.8707323061773764);
  EXPECT_EQ(stream.uniform(), 0.20671915533942642);
}

// Ends a trial as the golden run did.
void end_as(const json& entry, Study& study, Trial& trial) {
  if (entry.contains("constraint")) trial.set_constraints({entry["constraint"]});
  if (entry.contains("step")) trial.report(entry["step"], entry["report"]);
  const TrialState state = *parse_trial_state(entry["state"].get<std::string>());
  if (state == TrialState::complete)
    study.tell(trial, entry["value"].get<double>());
  else
    study.tell(trial, state);
}

// The decisions of Optuna, running freely: waves (constant liar), both directions, PRUNED, FAIL and infeasible trials.
TEST(Search, MultivariateTpeChoosesAsOptuna) {
  int runs = 0;
  for (const json& run : golden()["tpe"]) {
    if (!run["multivariate"].get<bool>()) continue;
    ++runs;
    const json& trials = run["trials"];
    MemoryStorage storage;
    Study study(storage, {.name = "s",
                          .direction = run["direction"] == "maximize" ? Direction::maximize : Direction::minimize,
                          .sampler = {.name = "tpe", .seed = run["seed"], .multivariate = true},
                          .parallel = run["parallel"],
                          .space = layer_space(run["table"].size(), run["table"][0].size())});
    for (auto wave = study.ask(trials.size()); !wave.empty(); wave = study.ask(trials.size()))
      for (Trial& trial : wave) {
        const json& entry = trials[static_cast<size_t>(trial.number())];
        ASSERT_EQ(indices(trial.record()), entry["choices"].get<Choices>())
            << "run " << runs << " trial " << trial.number();
        end_as(entry, study, trial);
      }
    EXPECT_EQ(study.trials().size(), trials.size());
  }
  EXPECT_EQ(runs, 5);
}

FrozenTrial as_frozen(const json& entry, size_t number, const SearchSpace& space) {
  FrozenTrial trial;
  trial.number = static_cast<int64_t>(number);
  trial.state = *parse_trial_state(entry["state"].get<std::string>());
  for (size_t i = 0; i < space.size(); ++i)
    trial.params.push_back(
        {space[i].first, std::make_shared<const Distribution>(space[i].second), entry["choices"][i]});
  if (trial.state == TrialState::complete) trial.values = {entry["value"]};
  if (entry.contains("constraint")) trial.constraints = {entry["constraint"]};
  if (entry.contains("step")) trial.intermediate_values[entry["step"]] = entry["report"];
  return trial;
}

// From Optuna's own history at every trial; another choice than Optuna's must be a candidate with a tied score.
TEST(Search, UnivariateTpeChoosesAsOptunaUpToTies) {
  int runs = 0, decisions = 0, ties = 0;
  for (const json& run : golden()["tpe"]) {
    if (run["multivariate"].get<bool>()) continue;
    ++runs;
    const SearchSpace space = layer_space(run["table"].size(), run["table"][0].size());
    const size_t parallel = run["parallel"];
    TpeSampler sampler(run["seed"], false);
    std::vector<FrozenTrial> history;
    for (size_t n = 0; n < run["trials"].size(); ++n) {
      const json& entry = run["trials"][n];
      const Direction direction = run["direction"] == "maximize" ? Direction::maximize : Direction::minimize;
      sampler.begin({history, n - n % parallel, direction});
      for (size_t i = 0; i < space.size(); ++i) {
        const int expected = entry["choices"][i];
        const auto chosen = sampler.suggest(space[i].first, std::make_shared<const Distribution>(space[i].second));
        ++decisions;
        if (chosen == expected) continue;
        ++ties;
        const TpeDecision& d = sampler.last_decision();
        const auto at = std::find(d.choices[0].begin(), d.choices[0].end(), expected) - d.choices[0].begin();
        ASSERT_LT(at, 24) << "run " << runs << " trial " << n;
        EXPECT_NEAR(d.scores[at], d.scores[d.winner], 1e-9) << "run " << runs << " trial " << n;
      }
      history.push_back(as_frozen(entry, n, space));
    }
  }
  EXPECT_EQ(runs, 3);
  EXPECT_LT(ties, decisions / 50);
}

double as_number(const json& value) { return value.get<double>(); }

TEST(Search, RandomSamplerDrawsAsOptuna) {
  const json& run = golden()["random"];
  // The golden rows list the parameters in this order (a JSON object has none).
  const std::vector<std::string> names = {"c", "one", "i", "il", "f", "fl", "fs"};
  SearchSpace space;
  for (const std::string& name : names)
    space.emplace_back(name, distribution_from_json(run["distributions"][name].get<std::string>(), name));
  MemoryStorage storage;
  Study study(storage, {.name = "s", .sampler = {.name = "random", .seed = run["seed"]}, .space = space});
  for (const json& row : run["trials"]) {
    auto wave = study.ask(1000);
    const FrozenTrial& trial = wave[0].record();
    EXPECT_EQ(to_text(trial.params[0].external()), row[0].get<std::string>());
    EXPECT_EQ(to_text(trial.params[1].external()), row[1].get<std::string>());
    EXPECT_EQ(trial.params[2].value, as_number(row[2]));
    EXPECT_EQ(trial.params[3].value, as_number(row[3]));
    for (size_t i = 4; i < 7; ++i)
      EXPECT_NEAR(trial.params[i].value, as_number(row[i]), 1e-12 * std::abs(as_number(row[i])));
    study.tell(wave[0], 0.0);
  }
}

TEST(Search, GridGoesInOptunasOrderAndEnds) {
  const json& run = golden()["grid"];
  const SearchSpace space = {{"b", categorical({"x", "y", "z"})},
                             {"a", IntDistribution{.low = 1, .high = 2}},
                             {"c", CategoricalDistribution{{true, std::monostate{}, "q", 2.5}}}};
  MemoryStorage storage;
  Study study(storage, {.name = "s", .sampler = {.name = "grid", .seed = run["seed"]}, .parallel = 5, .space = space});
  json rows = json::array();
  for (auto wave = study.ask(1000); !wave.empty(); wave = study.ask(1000))
    for (Trial& trial : wave) {
      json row = json::array();
      for (const TrialParameter& p : trial.record().params) row.push_back(json::parse(to_json(p.external())));
      rows.push_back(row);
      study.tell(trial, 0.0);
    }
  std::vector<json> expected;
  for (const json& row : run["trials"]) expected.push_back({row[0], row[1], row[2]});
  EXPECT_EQ(rows, json(expected));
}

TEST(Search, GridOfManyPointsRepeatsNone) {
  GridSampler sampler(1, layer_space(13, 10));  // 10^13 points
  const auto distribution = std::make_shared<const Distribution>(layer_space(1, 10)[0].second);
  std::vector<FrozenTrial> history;
  std::set<Choices> seen;
  std::vector<int> first(10);
  for (int n = 0; n < 2000; ++n) {
    sampler.begin({history, history.size(), Direction::maximize});
    Choices point;
    for (int i = 0; i < 13; ++i)
      point.push_back(static_cast<int>(sampler.suggest(fmt::format("layer{:02}", i), distribution)));
    ++first[static_cast<size_t>(point[0])];
    EXPECT_TRUE(seen.insert(point).second);
    history.emplace_back();
  }
  for (const int count : first) EXPECT_GT(count, 100);  // shuffled: about 200 each
}

TEST(Search, SmallSpaceIsSearchedWhole) {
  MemoryStorage storage;
  Study study(storage,
              {.name = "s", .sampler = {.name = "tpe"}, .parallel = 4, .trials = 100, .space = layer_space(2, 3)});
  std::set<Choices> seen;
  for (auto wave = study.ask(100); !wave.empty(); wave = study.ask(100))
    for (Trial& trial : wave) seen.insert(indices(trial.record())), study.tell(trial, 1.0);
  EXPECT_EQ(seen.size(), 9u);
  EXPECT_EQ(study.trials().size(), 9u);
}

double toy_value(const FrozenTrial& trial) {
  double value = 0;
  for (size_t i = 0; i < trial.params.size(); ++i) value += trial.params[i].value == static_cast<double>(i % 4);
  return value;
}

double best_toy(const std::string& sampler, bool multivariate, uint32_t seed) {
  MemoryStorage storage;
  Study study(storage, {.name = "s", .sampler = {sampler, seed, multivariate}, .space = layer_space(12, 4)});
  for (auto wave = study.ask(120); !wave.empty(); wave = study.ask(120))
    study.tell(wave[0], toy_value(wave[0].record()));
  return study.best_trial()->values[0];
}

TEST(Search, TpeBeatsRandom) {
  double random = 0, univariate = 0, multivariate = 0;
  for (uint32_t seed = 0; seed < 5; ++seed) {
    random += best_toy("random", false, seed);
    univariate += best_toy("tpe", false, seed);
    multivariate += best_toy("tpe", true, seed);
  }
  EXPECT_GT(univariate, random + 5);
  EXPECT_GT(multivariate, random + 5);
}

StudyOptions toy_options(const std::string& sampler, bool multivariate, int parallel) {
  return {.name = "toy", .sampler = {sampler, 17, multivariate}, .parallel = parallel, .space = layer_space(5, 3)};
}

// Some trials are pruned over a budget, some fail, as in a search.
void end_toy(Study& study, Trial& trial) {
  const Choices chosen = indices(trial.record());
  const int bits = std::accumulate(chosen.begin(), chosen.end(), 0);
  trial.set_constraints({bits - 7.0});
  if (bits > 7)
    study.tell(trial, TrialState::pruned);
  else if (trial.number() % 9 == 4)
    study.tell(trial, TrialState::fail);
  else
    study.tell(trial, toy_value(trial.record()));
}

constexpr int64_t kToyTrials = 31;

// Runs until `budget` trials have been told, then leaves the rest of the wave in flight.
void run_toy(Storage& storage, const StudyOptions& options, int64_t budget) {
  Study study(storage, options);
  for (auto wave = study.ask(kToyTrials); !wave.empty(); wave = study.ask(kToyTrials))
    for (size_t i = wave.size(); i-- > 0; end_toy(study, wave[i]))  // the last first: order must not matter
      if (budget-- == 0) return;
}

class Resume : public ::testing::TestWithParam<std::tuple<std::string, bool, int>> {};

TEST_P(Resume, EqualsUninterrupted) {
  const auto [sampler, multivariate, parallel] = GetParam();
  const StudyOptions options = toy_options(sampler, multivariate, parallel);
  MemoryStorage whole;
  run_toy(whole, options, 1000);
  const auto expected = all_indices(Study(whole, options));
  ASSERT_EQ(expected.size(), static_cast<size_t>(kToyTrials));
  for (int64_t kill = 0; kill < kToyTrials; ++kill) {
    MemoryStorage storage;
    run_toy(storage, options, kill);
    run_toy(storage, options, 3);  // and again, soon after
    run_toy(storage, options, 1000);
    Study study(storage, options);
    EXPECT_EQ(all_indices(study), expected) << "killed after " << kill;
    for (const FrozenTrial& t : study.trials()) EXPECT_TRUE(t.finished());
  }
}

INSTANTIATE_TEST_SUITE_P(Search, Resume,
                         ::testing::Combine(::testing::ValuesIn(sampler_names()), ::testing::Bool(),
                                            ::testing::Values(1, 4)));

TEST(Search, ResumeSuggestsAgainWhatWasNotStored) {  // killed between the number and the parameters
  const StudyOptions options = toy_options("tpe", true, 4);
  MemoryStorage whole, storage;
  run_toy(whole, options, 1000);
  {
    Study study(storage, options);
    for (auto wave = study.ask(16); !wave.empty(); wave = study.ask(16))
      for (Trial& trial : wave) end_toy(study, trial);
  }
  const int64_t id = storage.read_study("toy").id;
  const Attributes dead = {{"mpq:owner", "\"elsewhere 1 1\""}};
  auto trial = storage.create_trial(id, dead, 1000);  // number 16 opens a wave
  ASSERT_EQ(trial->number, 16);
  trial->heartbeat_age = 1e6;
  storage.save_trial(*trial);
  run_toy(storage, options, 1000);
  EXPECT_EQ(all_indices(Study(storage, options)), all_indices(Study(whole, options)));
}

TEST(Search, DefineByRunWithBranches) {
  MemoryStorage storage;
  StudyOptions options{.name = "s", .sampler = {.name = "tpe", .seed = 3}};
  const auto objective = [](Trial& t) {
    if (t.suggest_categorical("kind", {"a", "b"}) == "a")
      return t.suggest_categorical("x", {"1", "2", "3"}) == "2" ? 2. : 0.;
    return t.suggest_categorical("y", {"p", "q"}) == "q" ? 1. : 0.;
  };
  const auto run = [&](Storage& s, int64_t trials) {
    Study study(s, options);
    for (auto wave = study.ask(trials); !wave.empty(); wave = study.ask(trials))
      study.tell(wave[0], objective(wave[0]));
    return all_indices(study);
  };
  MemoryStorage whole;
  const auto expected = run(whole, 60);
  run(storage, 23);
  EXPECT_EQ(run(storage, 60), expected);
  EXPECT_EQ(Study(storage, options).best_trial()->values[0], 2.0);
}

TEST(Search, BestIsFeasibleAndFirst) {
  MemoryStorage storage;
  Study study(storage, {.name = "s", .parallel = 4, .space = layer_space(3, 3)});
  auto wave = study.ask(4);
  wave[0].set_constraints({1.0});
  const double values[] = {9, 2, 5, 5};
  for (size_t i = 0; i < 4; ++i) study.tell(wave[i], values[i]);
  EXPECT_EQ(study.best_trial()->number, 2);
}

TEST(Search, FindsTrialsOfTheSameParameters) {
  MemoryStorage storage;
  Study study(storage, {.name = "s", .sampler = {.name = "random"}, .space = layer_space(1, 2)});
  int repeats = 0;
  for (int i = 0; i < 10; ++i) {
    auto wave = study.ask(10);
    const FrozenTrial* same = study.find_same_params(wave[0]);
    repeats += same != nullptr;
    if (same) {
      EXPECT_EQ(indices(*same), indices(wave[0].record()));
    }
    study.tell(wave[0], 1.0);
  }
  EXPECT_EQ(repeats, 8);
}

TEST(Search, TellOfNanFailsAndPrunedKeepsTheLastReport) {
  MemoryStorage storage;
  Study study(storage, {.name = "s", .parallel = 2, .space = layer_space(1, 2)});
  auto wave = study.ask(2);
  study.tell(wave[0], NAN);
  wave[1].report(1, 0.5), wave[1].report(2, NAN);
  study.tell(wave[1], TrialState::pruned);
  EXPECT_EQ(study.trials()[0].state, TrialState::fail);
  EXPECT_EQ(study.trials()[1].values, std::vector<double>{0.5});
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Search, OtherSettingsAreRefused) {
  MemoryStorage storage;
  const StudyOptions options{.name = "s", .space = layer_space(2, 3)};
  Study(storage, options);
  const auto error = [&](auto change) {
    StudyOptions other = options;
    change(other);
    return error_of([&] { Study(storage, other); });
  };
  EXPECT_EQ(error([](StudyOptions&) {}), "no error");
  EXPECT_EQ(error([](StudyOptions& o) { o.direction = Direction::minimize; }),
            "study 's': its direction is MAXIMIZE, asked for MINIMIZE");
  EXPECT_EQ(error([](StudyOptions& o) { o.sampler.seed = 5; }), "study 's': its seed is 0, asked for 5");
  EXPECT_EQ(error([](StudyOptions& o) { o.parallel = 2; }), "study 's': its parallel is 1, asked for 2");
  EXPECT_EQ(error([](StudyOptions& o) { o.space = layer_space(3, 3); }),
            "study 's' has the parameters \"layer00\", \"layer01\"; asked for \"layer00\", \"layer01\", \"layer02\"");
  EXPECT_NE(error([](StudyOptions& o) { o.space = layer_space(2, 4); }).find("parameter \"layer00\": the study has"),
            std::string::npos);
  EXPECT_EQ(error([](StudyOptions& o) { o.name = "t", o.sampler.name = "best"; }), "--sampler 'best': no such sampler");
}

TEST(Search, OtherDistributionIsRefused) {
  MemoryStorage storage;
  Study study(storage, {.name = "s", .parallel = 2});
  auto wave = study.ask(2);
  wave[0].suggest_categorical("x", {"a", "b"});
  EXPECT_NE(error_of([&] {
              wave[1].suggest_categorical("x", {"a", "c"});
            }).find("study 's', parameter 'x'"),
            std::string::npos);
}

TEST(Search, DistributionsAreOptunasJson) {
  const std::vector<std::string> texts = {
      R"({"name": "CategoricalDistribution", "attributes": {"choices": ["int8", 4, null, true, 1.5, "\u00e9"]}})",
      R"({"name": "IntDistribution", "attributes": {"log": false, "step": 32, "low": 32, "high": 128}})",
      R"({"name": "FloatDistribution", "attributes": {"step": null, "low": 1e-05, "high": 0.1, "log": true}})",
      R"({"name": "FloatDistribution", "attributes": {"step": 0.1, "low": 0.0, "high": 0.5, "log": false}})"};
  for (const std::string& text : texts) EXPECT_EQ(to_json(distribution_from_json(text, "test")), text);
  EXPECT_EQ(count_values(distribution_from_json(texts[3], "")), 6);
  EXPECT_EQ(count_values(distribution_from_json(texts[1], "")), 4);
}

TEST(Search, BadDistributionsAreRefused) {
  const std::vector<std::string> bad = {
      "",
      "{",
      "[]",
      R"({"name": "CategoricalDistribution"})",
      R"({"name": "CategoricalDistribution", "attributes": {"choices": []}})",
      R"({"name": "CategoricalDistribution", "attributes": {"choices": [[1]]}})",
      R"({"name": "Other", "attributes": {}})",
      R"({"name": "IntDistribution", "attributes": {"low": 3, "high": 1}})",
      R"({"name": "IntDistribution", "attributes": {"low": 0, "high": 18446744073709551615}})",
      R"({"name": "IntDistribution", "attributes": {"low": 0, "high": 4, "step": 0}})",
      R"({"name": "FloatDistribution", "attributes": {"low": 0, "high": 1e999}})",
      R"({"name": "FloatDistribution", "attributes": {"low": 0, "high": 1, "log": true}})"};
  for (const std::string& text : bad)
    EXPECT_NE(error_of([&] { distribution_from_json(text, "p"); }), "no error") << text;
  EXPECT_NE(error_of([] { validate(CategoricalDistribution{{int64_t{1}, true}}, "p"); }), "no error");
}

// A two-valued `depth` with 1 or 2 switches, and a `width`: (2 + 4) x 3 points.
const SearchSpace conditional_space{{"width", categorical({"4", "5", "6"})}, {"depth", categorical({"1", "2"})}};
SearchSpace switches(const FrozenTrial& trial) {
  SearchSpace space{{"first", categorical({"on", "off"})}};
  if (to_text(trial.find("depth")->external()) == "2") space.emplace_back("second", categorical({"on", "off"}));
  return space;
}

TEST(FurtherParameters, AGridVisitsEveryWayToGoOnOnce) {
  EXPECT_EQ(count_points(conditional_space), 6);
  EXPECT_EQ(count_points(conditional_space, switches), 18);
  MemoryStorage storage;
  Study study(storage, {.name = "s",
                        .sampler = {.name = "grid", .seed = 3},
                        .parallel = 4,
                        .space = conditional_space,
                        .further = switches});
  EXPECT_EQ(study.most_trials(100), 18);
  std::set<std::string> seen;
  for (auto wave = study.ask(100); !wave.empty(); wave = study.ask(100))
    for (Trial& trial : wave) {
      std::string point;
      for (const TrialParameter& p : trial.record().params) point += p.name + to_text(p.external()) + " ";
      EXPECT_TRUE(seen.insert(point).second) << point;
      const bool deep = to_text(trial.record().find("depth")->external()) == "2";
      EXPECT_EQ(trial.record().params.size(), deep ? 4u : 3u);
      study.tell(trial, 0.5);
    }
  EXPECT_EQ(seen.size(), 18u);
}

TEST(FurtherParameters, OfManyPointsNothingIsLaidOut) {
  const auto many = [](const FrozenTrial& trial) {
    SearchSpace space;
    for (int i = 0; i < 50; ++i) space.emplace_back(fmt::format("{:02}", i), categorical({"on", "off"}));
    return switches(trial).size() == 2 ? space : SearchSpace{};
  };
  EXPECT_EQ(count_points(conditional_space, many), 3 * (1 + (int64_t{1} << 50)));
  GridSampler grid(7, conditional_space, many);
  std::vector<FrozenTrial> trials;
  std::set<std::string> seen;
  for (int n = 0; n < 200; ++n) {
    grid.begin({.trials = trials, .wave_start = 0, .direction = Direction::maximize});
    std::string point;
    FrozenTrial trial;
    for (const auto& [name, distribution] : conditional_space) {
      const auto shared = std::make_shared<const Distribution>(distribution);
      trial.params.push_back({name, shared, grid.suggest(name, shared)});
      point += fmt::format("{} ", trial.params.back().value);
    }
    for (const auto& [name, distribution] : many(trial))
      point += fmt::format("{}", grid.suggest(name, std::make_shared<const Distribution>(distribution)));
    EXPECT_TRUE(seen.insert(point).second) << point;
    trials.push_back(trial);
  }
}

// The same choices killed after any trial and continued.
TEST(FurtherParameters, AResumedStudyGoesOnWithTheSameChoices) {
  for (const std::string& sampler : sampler_names()) {
    const auto open = [&](Storage& storage) {
      return std::make_unique<Study>(
          storage,
          StudyOptions{
              .name = "s", .sampler = {.name = sampler, .seed = 5}, .space = conditional_space, .further = switches});
    };
    const auto run = [](Study& study, int64_t trials) {
      for (auto wave = study.ask(trials); !wave.empty(); wave = study.ask(trials))
        for (Trial& trial : wave) {
          double value = 0;
          for (const TrialParameter& p : trial.record().params) value = value * 0.7 + p.value;
          study.tell(trial, value);
        }
    };
    MemoryStorage whole, killed;
    run(*open(whole), 17);
    for (int64_t n = 1; n <= 17; ++n) run(*open(killed), n);
    const auto a = whole.read_trials(whole.read_study("s").id, 0), b = killed.read_trials(killed.read_study("s").id, 0);
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(a[i].same_params(b[i])) << sampler << " trial " << i;
  }
}

}  // namespace
}  // namespace mpq
