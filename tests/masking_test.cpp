// What pretraining reads: pieces of documents, and the masks drawn over them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "base/error.h"
#include "data/corpus.h"
#include "data/masking.h"
#include "data/wordpiece.h"
#include "tests/temporary_folder.h"

namespace mpq {
namespace {

// [PAD] [UNK] [CLS] [SEP] [MASK], then words w0 ... and continuations ##c0 ...
constexpr int32_t kWords = 400, kContinuations = 100, kFirstWord = 5, kFirstContinuation = kFirstWord + kWords;
std::shared_ptr<WordPiece> tokenizer() {
  std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (int i = 0; i < kWords; ++i) tokens.push_back("w" + std::to_string(i));
  for (int i = 0; i < kContinuations; ++i) tokens.push_back("##c" + std::to_string(i));
  return std::make_shared<WordPiece>(tokens);
}

Documents documents_of(const std::vector<int>& lengths) {
  Documents documents;
  for (size_t d = 0; d < lengths.size(); ++d) {
    for (int i = 0; i < lengths[d]; ++i)
      documents.tokens.push_back(kFirstWord + static_cast<int32_t>((d * 7919 + i * 31) % kWords));
    documents.starts.push_back(static_cast<int64_t>(documents.tokens.size()));
    documents.hashes.push_back(0x9E3779B97F4A7C15ull * (d + 1));
  }
  return documents;
}

TEST(Pieces, HoldEveryTokenOnceAndAreNearlyEquallyLong) {
  const auto special = tokenizer()->special();
  const Documents documents = documents_of({1, 10, 11, 30, 31, 100});
  const Pieces pieces(documents, special, 12);
  EXPECT_EQ(pieces.count(), Pieces::count(documents, 12));
  EXPECT_EQ(pieces.count(), 1 + 1 + 2 + 3 + 4 + 10);
  std::vector<int32_t> text;
  for (int64_t r = 0; r < pieces.count(); ++r) {
    const auto row = pieces.split.row(r);
    ASSERT_GE(row.size(), 3u);
    EXPECT_LE(row.size(), 12u);
    EXPECT_EQ(row.front(), special.cls);
    EXPECT_EQ(row.back(), special.sep);
    const auto document = std::find(documents.hashes.begin(), documents.hashes.end(), pieces.split.texts[r]);
    const int64_t start = documents.starts[document - documents.hashes.begin()];
    EXPECT_EQ(start + pieces.offsets[r], static_cast<int64_t>(text.size())) << "no token is left out";
    text.insert(text.end(), row.begin() + 1, row.end() - 1);
    if (r == 0 || pieces.split.texts[r - 1] != pieces.split.texts[r]) continue;
    EXPECT_LE(std::abs(static_cast<int>(row.size()) - static_cast<int>(pieces.split.row(r - 1).size())), 1);
  }
  EXPECT_EQ(text, documents.tokens);
}

// A masked split, token by token.
struct Seen {
  double chosen = 0, tokens = 0, masked = 0, random = 0, kept = 0;
  std::vector<bool> is_chosen;  // of all tokens of all rows
};
Seen look(const Pieces& pieces, const Split& split, const SpecialIds& special) {
  Seen seen;
  seen.is_chosen.resize(split.tokens.size());
  EXPECT_EQ(split.row_starts, pieces.split.row_starts);
  for (int64_t r = 0; r < split.row_count(); ++r) {
    int32_t before = 0;
    for (int64_t i = split.masked.row_starts[r]; i < split.masked.row_starts[r + 1]; ++i) {
      const int32_t position = split.masked.positions[i];
      EXPECT_GT(position, before) << "ascending, and never [CLS]";
      EXPECT_LT(position + 1, static_cast<int32_t>(split.row(r).size())) << "never [SEP]";
      before = position;
      const int64_t at = split.row_starts[r] + position;
      seen.is_chosen[at] = true;
      const int32_t was = pieces.split.tokens[at], is = split.tokens[at];
      EXPECT_EQ(split.masked.tokens[i], was);
      ++(is == special.mask ? seen.masked : is == was ? seen.kept : seen.random);
      EXPECT_TRUE(is == special.mask || is >= kFirstWord) << "no special token but [MASK]";
    }
    seen.tokens += static_cast<double>(split.row(r).size()) - 2;
  }
  for (size_t i = 0; i < split.tokens.size(); ++i)
    EXPECT_TRUE(seen.is_chosen[i] || split.tokens[i] == pieces.split.tokens[i]);
  seen.chosen = static_cast<double>(split.masked.tokens.size());
  return seen;
}
// |share - p| within four standard deviations of n draws.
void expect_share(double count, double n, double p) { EXPECT_NEAR(count / n, p, 4 * std::sqrt(p * (1 - p) / n)); }

TEST(Masking, ChoosesTheShareAndReplacesEightyTenTen) {
  const auto words = tokenizer();
  const Pieces pieces(documents_of(std::vector<int>(400, 200)), words->special(), 102);
  const Masker masker(*words, {});
  const Split split = masker.mask(pieces, 0);
  for (int64_t r = 0; r < split.row_count(); ++r)
    EXPECT_EQ(split.masked.row_starts[r + 1] - split.masked.row_starts[r], 15);
  const Seen seen = look(pieces, split, words->special());
  expect_share(seen.masked, seen.chosen, 0.8);
  // A random token is the old one in one of 500 cases.
  expect_share(seen.random, seen.chosen, 0.1 * (1 - 1.0 / (kWords + kContinuations)));
  expect_share(seen.kept, seen.chosen, 0.1 * (1 + 1.0 / (kWords + kContinuations)));
  // Every place of a sequence is chosen equally often: chi-square of 100 places, 99.9 % below 149.
  std::vector<double> places(100);
  for (const int32_t position : split.masked.positions) ++places.at(position - 1);
  double chi = 0;
  const double expected = seen.chosen / 100;
  for (const double n : places) chi += (n - expected) * (n - expected) / expected;
  EXPECT_LT(chi, 149);
}

TEST(Masking, EveryDrawAndSeedIsIndependentOfTheOthers) {
  const auto words = tokenizer();
  const Pieces pieces(documents_of(std::vector<int>(300, 200)), words->special(), 102);
  const auto chosen = [&](uint64_t seed, uint32_t draw) {
    return look(pieces, Masker(*words, {.seed = seed}).mask(pieces, draw), words->special()).is_chosen;
  };
  const auto first = chosen(1, 0);
  EXPECT_EQ(first, chosen(1, 0));
  double tokens = 0;
  for (const bool c : first) tokens += c / 0.15;
  for (const auto& other : {chosen(1, 1), chosen(1, 2), chosen(2, 0)}) {
    double both = 0;
    for (size_t i = 0; i < first.size(); ++i) both += first[i] && other[i];
    expect_share(both, tokens, 0.15 * 0.15);
  }
  // Neighbours, and the same place of the next document.
  for (const size_t apart : {size_t{1}, size_t{102 * 2}}) {
    double both = 0;
    for (size_t i = apart; i < first.size(); ++i) both += first[i] && first[i - apart];
    expect_share(both, tokens, 0.15 * 0.15);
  }
}

// What becomes of a token depends on its document and place alone: not on the cut, nor on the documents beside it.
TEST(Masking, DependsNeitherOnTheCutNorOnOtherDocuments) {
  const auto words = tokenizer();
  const Masker masker(*words, {.share = 0.3});
  const Documents many = documents_of({50, 200, 77});
  Documents one;
  one.tokens.assign(many[1].begin(), many[1].end());
  one.starts.push_back(200);
  one.hashes = {many.hashes[1]};
  const auto become = [&](const Documents& documents, int sequence) {
    const Pieces pieces(documents, words->special(), sequence);
    const Split split = masker.mask(pieces, 3);
    std::map<int64_t, int32_t> tokens;  // by place in the second document
    for (int64_t r = 0; r < split.row_count(); ++r)
      for (int64_t i = split.masked.row_starts[r]; i < split.masked.row_starts[r + 1]; ++i)
        if (split.texts[r] == many.hashes[1]) {
          const int32_t position = split.masked.positions[i];
          tokens[pieces.offsets[r] + position - 1] = split.tokens[split.row_starts[r] + position];
        }
    return tokens;
  };
  const auto cut = become(many, 42);
  EXPECT_EQ(cut, become(one, 42));
  int common = 0;
  for (const auto& [place, token] : become(many, 512))
    if (cut.contains(place)) {
      EXPECT_EQ(cut.at(place), token);
      ++common;
    }
  EXPECT_GT(common, 30);  // the smallest keys of a document and of its piece are mostly the same
}

TEST(Masking, WholeWordsAreChosenTogether) {
  const auto words = tokenizer();
  Documents documents = documents_of(std::vector<int>(100, 98));
  for (size_t i = 0; i < documents.tokens.size(); ++i)  // words of one to three tokens
    if (i % 98 % 6 == 1 || i % 98 % 6 == 4 || i % 98 % 6 == 5) documents.tokens[i] = kFirstContinuation + i % 90;
  const Pieces pieces(documents, words->special(), 100);
  const Split split = Masker(*words, {.whole_words = true}).mask(pieces, 0);
  const Seen seen = look(pieces, split, words->special());
  EXPECT_LE(seen.chosen, 15.0 * pieces.count());
  EXPECT_GE(seen.chosen, 14.0 * pieces.count());
  for (int64_t r = 0; r < split.row_count(); ++r)
    for (int64_t i = split.row_starts[r] + 2; i < split.row_starts[r + 1] - 1; ++i)
      EXPECT_TRUE(pieces.split.tokens[i] < kFirstContinuation || seen.is_chosen[i] == seen.is_chosen[i - 1]);
  // A piece of one long word still has something to find.
  Documents long_word = documents_of({5});
  for (int i = 1; i < 5; ++i) long_word.tokens[i] = kFirstContinuation;
  const Pieces one(long_word, words->special(), 100);
  EXPECT_EQ(Masker(*words, {.whole_words = true}).mask(one, 0).masked.positions, std::vector<int32_t>{1});
}

TEST(Masking, SpecialTokensOfATextAreNeverMasked) {
  const auto words = tokenizer();
  Documents documents = documents_of({60});
  for (int i = 0; i < 60; i += 2) documents.tokens[i] = i % 4 == 0 ? words->special().mask : words->special().unk;
  const Pieces pieces(documents, words->special(), 100);
  for (uint32_t draw = 0; draw < 20; ++draw) {
    const Split split = Masker(*words, {.share = 0.5}).mask(pieces, draw);
    EXPECT_EQ(split.masked.tokens.size(), 15u);
    for (const int32_t token : split.masked.tokens) EXPECT_GE(token, kFirstWord);
  }
  documents.tokens.assign(60, words->special().unk);
  EXPECT_TRUE(Masker(*words, {}).mask({documents, words->special(), 100}, 0).masked.tokens.empty());
}

class CorpusTest : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
    std::ofstream vocabulary(folder_ / "vocab.txt");
    for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"})
      vocabulary << token << "\n";
  }
  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  Corpus load(const std::string& data, CorpusOptions options = {.held_out = 0}) {
    options.data = (folder_ / data).string();
    options.tokenizer = (folder_ / "vocab.txt").string();
    return load_corpus(options);
  }
  TemporaryFolder folder_;
};

TEST_F(CorpusTest, TextsAreSeparatedByEmptyLinesOrAreLines) {
  write("paragraphs.txt", "a b\nc\n\n \nd d\n\n");
  const Corpus paragraphs = load("paragraphs.txt");
  EXPECT_EQ(paragraphs.train.starts, (std::vector<int64_t>{0, 3, 5}));
  EXPECT_EQ(paragraphs.train.tokens, (std::vector<int32_t>{5, 6, 7, 8, 8}));
  write("lines.txt", "a b\nc\nd d");
  EXPECT_EQ(load("lines.txt").train.starts, (std::vector<int64_t>{0, 2, 3, 5}));
  write("folder/x/1.txt", "a a a\n");
  write("folder/2.txt", "b\nc\n");
  write("folder/other.bin", "d\n");
  EXPECT_EQ(load("folder").train.count(), 3);
}

TEST_F(CorpusTest, TheTestSplitIsReadOnlyWhenAsked) {
  write("set/train.tsv", "1\ta\n0\tb\n");
  write("set/test.tsv", "1\tc c\n");
  write("set/unlabelled.tsv", "1\td d d\n");
  EXPECT_EQ(load("set").train.tokens.size(), 5u);
  EXPECT_EQ(load("set", {.test = true, .held_out = 0}).train.tokens.size(), 7u);
  EXPECT_NE(load("set").fingerprint, load("set", {.test = true, .held_out = 0}).fingerprint);
}

TEST_F(CorpusTest, HeldOutTextsAreAFixedShareOfWholeTexts) {
  std::string text;
  for (int i = 0; i < 200; ++i) {
    for (int k = 0; k < 6; ++k) text += "abcd"[(i >> k) % 4], text += ' ';
    text += "d " + std::string(i % 3, 'a') + "\n";
  }
  write("many.txt", text);
  const Corpus corpus = load("many.txt", {.held_out = 0.1});
  EXPECT_EQ(corpus.train.count() + corpus.held_out.count(), 200);
  EXPECT_GE(corpus.held_out.count(), 20);
  for (const uint64_t hash : corpus.held_out.hashes)
    EXPECT_EQ(std::count(corpus.train.hashes.begin(), corpus.train.hashes.end(), hash), 0);
  EXPECT_EQ(corpus.held_out.hashes, load("many.txt", {.held_out = 0.1}).held_out.hashes);
  const Corpus some = load("many.txt", {.held_out = 0, .rows = 50});
  EXPECT_EQ(some.train.count(), 50);
}

TEST_F(CorpusTest, BadTextsAreRefused) {
  write("bad.txt", "a\n\xff\n");
  write("empty.txt", "\n \n");
  std::filesystem::create_directories(folder_ / "nothing");
  for (const char* data : {"bad.txt", "empty.txt", "nothing", "nowhere.txt"})
    EXPECT_THROW(load(data), UserError) << data;
  write("one.txt", "a b\n");
  EXPECT_THROW(load("one.txt", {.held_out = 0.9}), UserError);
}

}  // namespace
}  // namespace mpq
