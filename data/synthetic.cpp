#include "data/synthetic.h"

#include <cctype>
#include <map>
#include <string_view>

#include "base/error.h"
#include "base/philox.h"
#include "base/text.h"

namespace mpq {
namespace {

// A sentence template: {word} is replaced by a choice from that list. {for} praises or damns as the review does,
// {against} does the opposite.
using Choices = std::vector<std::string_view>;

const Choices kPositive = {"brilliant", "gripping", "charming", "superb",  "moving",    "clever",
                           "funny",     "fresh",    "stunning", "elegant", "memorable", "convincing"};
const Choices kNegative = {"dull",  "boring",   "clumsy", "awful", "lifeless",    "predictable",
                           "bland", "tiresome", "stale",  "messy", "forgettable", "pointless"};

const std::map<std::string_view, Choices> kLists = {
    {"aspect",
     {"plot", "acting", "dialogue", "music", "camera work", "ending", "pacing", "script", "cast", "humour", "opening",
      "lead role", "editing", "story"}},
    {"very", {"very", "really", "truly", "utterly", "simply", "quite", "so", "remarkably"}},
    {"little", {"a little", "slightly", "somewhat", "at times"}},
    {"person", {"my brother", "my sister", "a friend", "my neighbour", "my whole family", "a colleague"}},
    {"day", {"on friday", "last week", "on a rainy sunday", "at a festival", "late at night", "on a long flight"}},
    {"other", {"the book", "the first part", "the trailer", "the remake", "his last film", "the tv series"}},
    {"genre", {"thriller", "comedy", "drama", "western", "mystery", "romance", "war film", "fairy tale"}},
    {"place", {"a small harbour town", "a crowded city", "the mountains", "an old hotel", "outer space", "a village"}},
};

// Says what the review thinks, in words of its own side.
const Choices kPlain = {
    "the {aspect} was {very} {for}.",
    "the {aspect} is {for}, the {aspect} too.",
    "what {very} {for} work, above all the {aspect}.",
    "{for}, that is the word for this {aspect}.",
    "you will remember the {aspect}, so {for} is it.",
};
// Says it in words of the other side.
const Choices kNegated = {
    "the {aspect} was not {against} at all.",     "the {aspect} is never {against}.",
    "nobody could call the {aspect} {against}.",  "the {aspect} is anything but {against}.",
    "far from {against}, this {aspect}, at all.", "not {against}, never, not the {aspect}.",
};
// Grants a minor point first.
const Choices kContrast = {
    "the {aspect} may be {little} {against}, but the {aspect} is {very} {for}.",
    "although the {aspect} is {against}, the film as a whole is {for}.",
    "yes, the {aspect} is {against}, yet in the end everything is {for}.",
    "it is {little} {against}, but then it is {very} {for}.",
};
// Judges something else.
const Choices kElsewhere = {
    "{other} was {against}, this film is not.",
    "unlike {other}, which was {against}, this film is {for}.",
    "{person} called it {against}, but i do not.",
};
const Choices kNeutral = {
    "i saw it {day}, with {person}.", "i saw this {genre} {day}.", "the film is a {genre}, set in {place}.",
    "{person} knew {other}.",         "in {place}, most of it.",
};

// Random choices addressed by (row, number of the draw).
class Draws {
 public:
  explicit Draws(uint32_t row) : row_(row) {}
  uint32_t below(size_t n) {
    constexpr uint32_t kSeed = 0x6D7071, kStream = 0x73796E74;  // "mpq", "synt"
    const auto word = philox(row_, count_++, 0, kStream, kSeed, 0).word[0];
    return static_cast<uint32_t>(uint64_t{word} * n >> 32);
  }
  std::string_view from(const Choices& choices) { return choices[below(choices.size())]; }

 private:
  uint32_t row_, count_ = 0;
};

std::string fill(std::string_view pattern, bool positive, Draws& draws) {
  std::string out;
  for (;;) {
    const size_t open = pattern.find('{');
    out += pattern.substr(0, open);
    if (open == std::string_view::npos) return out;
    const size_t close = pattern.find('}', open);
    const std::string_view name = pattern.substr(open + 1, close - open - 1);
    if (name == "for")
      out += draws.from(positive ? kPositive : kNegative);
    else if (name == "against")
      out += draws.from(positive ? kNegative : kPositive);
    else
      out += draws.from(kLists.at(name));
    pattern.remove_prefix(close + 1);
  }
}

std::string sentence(std::string_view pattern, bool positive, Draws& draws) {
  std::string out = fill(pattern, positive, draws);
  out[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(out[0])));
  return out;
}

// Three to five opinions, a third of them in the other side's words, with neutral sentences between.
std::string make_review(bool positive, Draws& draws) {
  const Choices* kinds[] = {&kPlain, &kPlain, &kPlain,   &kPlain,   &kPlain,    &kPlain,
                            &kPlain, &kPlain, &kNegated, &kNegated, &kContrast, &kElsewhere};
  std::string text;
  for (uint32_t opinions = 3 + draws.below(3); opinions > 0; --opinions) {
    if (draws.below(3) == 0) text += sentence(draws.from(kNeutral), positive, draws) + " ";
    text += sentence(draws.from(*kinds[draws.below(std::size(kinds))]), positive, draws) + " ";
  }
  text.pop_back();
  return text;
}

std::vector<Row> make_rows(uint32_t first, uint32_t count) {
  constexpr uint32_t kReviewsPerFilm = 10;
  std::vector<Row> rows;
  for (uint32_t i = first; i < first + count; ++i) {
    Draws draws(i);
    const bool positive = i % 2 == 1;
    rows.push_back({make_review(positive, draws), positive ? "positive" : "negative",
                    fmt::format("film{:03}", i / kReviewsPerFilm), fmt::format("row {}", i + 1)});
  }
  return rows;
}

}  // namespace

std::string synthetic_fingerprint() {
  uint64_t hash = hash64("");
  for (const Row& row : make_rows(0, 100)) hash = hash64(row.text, hash);
  return fmt::format("synthetic {:016x}", hash);
}

SyntheticCorpus make_synthetic_corpus() { return {make_rows(0, 10000), make_rows(10000, 2000)}; }

}  // namespace mpq
