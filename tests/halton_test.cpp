#include "search/halton_sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "search/memory_storage.h"
#include "search/study.h"

namespace mpq {
namespace {

constexpr uint32_t kPrimes[] = {2, 3, 5, 7, 11, 13, 17};

TEST(Halton, EveryRunOfPointsLiesOneInEachCell) {
  for (uint32_t dimension = 0; dimension < std::size(kPrimes); ++dimension)
    for (const uint32_t cells : {kPrimes[dimension], kPrimes[dimension] * kPrimes[dimension]})
      for (const uint32_t start : {0u, 3 * cells}) {
        std::set<int> seen;
        for (uint32_t i = start; i < start + cells; ++i)
          seen.insert(static_cast<int>(halton(i, dimension, 7) * cells * (1 + 1e-12)));
        EXPECT_EQ(seen.size(), cells) << dimension;
        EXPECT_EQ(*seen.begin(), 0);
        EXPECT_EQ(*seen.rbegin(), static_cast<int>(cells) - 1);
      }
}

TEST(Halton, TheSeedScrambles) {
  int equal = 0;
  for (uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(halton(i, 5, 1), halton(i, 5, 1));
    equal += halton(i, 5, 1) == halton(i, 5, 2);
  }
  EXPECT_LT(equal, 5);
}

std::vector<FrozenTrial> ask_all(const SearchSpace& space, int64_t trials) {
  MemoryStorage storage;
  Study study(storage, {.name = "s", .sampler = {.name = "halton", .seed = 3}, .trials = 1 << 20, .space = space});
  for (auto wave = study.ask(trials); !wave.empty(); wave = study.ask(trials)) study.tell(wave[0], 1.0);
  return study.trials();
}

// Bases 2 and 3: six trials are all six pairs, whichever six follow each other.
TEST(Halton, PairsOfChoicesComeInTurns) {
  std::set<std::pair<double, double>> pairs;
  int trial = 0;
  for (const FrozenTrial& t : ask_all({{"a", categorical({"x", "y"})},
                                       {"b", categorical({"p", "q", "r"})},
                                       {"c", FloatDistribution{.low = 0, .high = 1}}},
                                      36)) {
    pairs.emplace(t.params[0].value, t.params[1].value);
    if (++trial % 6 == 0) {
      EXPECT_EQ(pairs.size(), 6u) << "up to trial " << trial;
      pairs.clear();
    }
  }
  EXPECT_EQ(trial, 36);
}

TEST(Halton, ManyParametersAreEachEven) {
  SearchSpace space;
  std::vector<std::string> choices;
  for (int c = 0; c < 10; ++c) choices.push_back("choice " + std::to_string(c));
  for (int p = 0; p < 14; ++p) space.emplace_back("layer " + std::to_string(p), categorical(choices));
  std::map<std::pair<size_t, double>, int> counts;
  for (const FrozenTrial& t : ask_all(space, 100))
    for (size_t p = 0; p < t.params.size(); ++p) ++counts[{p, t.params[p].value}];
  EXPECT_EQ(counts.size(), 140u);
  for (const auto& [what, count] : counts) EXPECT_NEAR(count, 10, 5) << "parameter " << what.first;  // random: 2 to 19
}

TEST(Halton, EveryKindOfParameterStaysWithinItsBounds) {
  const SearchSpace space = {{"i", IntDistribution{.low = 3, .high = 30, .step = 3}},
                             {"il", IntDistribution{.low = 1, .high = 64, .log = true}},
                             {"f", FloatDistribution{.low = -1, .high = 1}},
                             {"fl", FloatDistribution{.low = 1e-5, .high = 0.1, .log = true}},
                             {"fs", FloatDistribution{.low = 0, .high = 0.5, .step = 0.1}}};
  std::map<std::string, std::pair<double, double>> range;
  int below = 0;
  for (const FrozenTrial& t : ask_all(space, 200))
    for (const TrialParameter& p : t.params) {
      EXPECT_TRUE(contains(*p.distribution, p.value)) << p.name << " " << p.value;
      auto& [low, high] = range.try_emplace(p.name, p.value, p.value).first->second;
      low = std::min(low, p.value), high = std::max(high, p.value);
      below += p.name == "fl" && p.value < 1e-3;
    }
  EXPECT_EQ(range.at("i"), std::pair(3.0, 30.0));
  EXPECT_EQ(range.at("il").first, 1);
  EXPECT_GT(range.at("il").second, 60);
  EXPECT_EQ(range.at("fs"), std::pair(0.0, 0.5));
  EXPECT_NEAR(below, 100, 8) << "half of the logarithms";
}

}  // namespace
}  // namespace mpq
