#include "data/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "data/sentencepiece_proto.h"
#include "data/trie.h"
#include "data/unigram.h"
#include "data/wordpiece.h"
#include "temporary_folder.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

const fs::path golden = fs::path(MPQ_SOURCE_DIR) / "tests/golden";
const std::vector<std::string> kSpecials = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};

WordPiece small_wordpiece(std::vector<std::string> tokens) {
  tokens.insert(tokens.begin(), kSpecials.begin(), kSpecials.end());
  return WordPiece(tokens);
}

std::vector<int32_t> ids_of(const Tokenizer& tokenizer, std::string_view text) {
  std::vector<int32_t> ids;
  tokenizer.append_ids(text, ids);
  return ids;
}

void expect_golden(const Tokenizer& tokenizer, const char* cases) {
  int count = 0;
  const std::string lines = read_file(golden / cases);
  for (std::string_view line : split(lines, '\n')) {
    if (line.empty()) continue;
    const auto entry = nlohmann::json::parse(line);
    EXPECT_EQ(tokenizer.encode(entry["text"].get<std::string>()), entry["ids"].get<std::vector<int32_t>>())
        << entry["text"];
    ++count;
  }
  EXPECT_GT(count, 200);
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(WordPieceTest, IdsEqualHuggingFace) {
  expect_golden(*open_tokenizer(golden / "wordpiece_vocab.txt"), "wordpiece.jsonl");
}

TEST(UnigramTest, IdsEqualHuggingFace) { expect_golden(*open_tokenizer(golden / "spiece.model"), "albert.jsonl"); }

TEST(TokenizerTest, SavedFoldersGiveTheSameIds) {
  for (const auto& [source, cases] :
       {std::pair{"wordpiece_vocab.txt", "wordpiece.jsonl"}, {"spiece.model", "albert.jsonl"}}) {
    TemporaryFolder folder;
    const auto original = open_tokenizer(golden / source);
    original->save(folder.path(), 128);
    for (const auto& path : {folder.path(), folder.path() / "tokenizer.json"}) {
      const auto reopened = open_tokenizer(path);
      EXPECT_EQ(reopened->fingerprint(), original->fingerprint()) << path;
      expect_golden(*reopened, cases);
    }
    EXPECT_EQ(nlohmann::json::parse(read_file(folder.path() / "tokenizer_config.json"))["model_max_length"], 128);
  }
}

TEST(WordPieceTest, WordsOfMoreThanAHundredCharactersAreUnknown) {
  const auto t = small_wordpiece({"a", "##a"});
  EXPECT_EQ(ids_of(t, std::string(100, 'a')).size(), 100u);
  EXPECT_EQ(ids_of(t, std::string(101, 'a')), std::vector<int32_t>{t.special().unk});
}

TEST(WordPieceTest, TakesTheLongestPiece) {
  const auto t = small_wordpiece({"un", "una", "##aff", "##able", "##ff"});
  EXPECT_EQ(ids_of(t, "unaffable"), (std::vector<int32_t>{6, 9, 8}));
  EXPECT_EQ(ids_of(t, "unx"), std::vector<int32_t>{t.special().unk});
}

// Quadratic behaviour would take minutes here.
TEST(TokenizerTest, HostileTextTakesLinearTime) {
  const auto start = std::chrono::steady_clock::now();
  for (const char* file : {"wordpiece_vocab.txt", "spiece.model"}) {
    const auto t = open_tokenizer(golden / file);
    for (const char* unit : {"a", "[MASK", "\u0301", "``", "\u2581"}) {
      std::string text;
      while (text.size() < 2'000'000) text += unit;
      EXPECT_GE(t->encode(text).size(), 2u);
    }
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(TokenizerTest, RefusesInvalidUtf8AndSurvivesItOtherwise) {
  for (const char* file : {"wordpiece_vocab.txt", "spiece.model"}) {
    const auto t = open_tokenizer(golden / file);
    for (const std::string& text : {std::string("ab\xFFz"), std::string("\xF0\x9F"), std::string("\xE4\xB8")}) {
      EXPECT_THROW(t->encode(text), UserError);
      ids_of(*t, text);
    }
  }
}

TEST(TokenizerTest, DamagedFilesAreUserErrors) {
  TemporaryFolder folder;
  const auto open = [&](const std::string& name, const std::string& content) {
    write_file_atomic(folder.path() / name, content);
    return error_of([&] { open_tokenizer(folder.path() / name); });
  };
  const std::string vocab = join(kSpecials, "\n");
  EXPECT_NE(open("vocab.txt", vocab + "\na\n\nb\n").find("line 7 is empty"), std::string::npos);
  EXPECT_NE(open("vocab.txt", vocab + "\na\na\n").find("repeats the token \"a\" (ids 5 and 6)"), std::string::npos);
  EXPECT_NE(open("vocab.txt", "a\nb\n").find("lacks the token [PAD]"), std::string::npos);
  EXPECT_NE(open("vocab.txt", vocab + "\n\xFF\n").find("line 6 is not UTF-8"), std::string::npos);
  EXPECT_NE(open("tokenizer.json", "{\"model\": 3}").find("is no tokenizer.json"), std::string::npos);
  EXPECT_NE(open("tokenizer.json", "{\"model\": {\"type\": \"BPE\", \"vocab\": {}}}").find("BPE is not supported"),
            std::string::npos);
  EXPECT_NE(open("x.model", "nonsense").find("not a sentencepiece model"), std::string::npos);
  EXPECT_NE(open("x.model", read_file(golden / "spiece.model").substr(0, 700)).find("sentencepiece"),
            std::string::npos);
  EXPECT_NE(open("x.bin", "").find("name does not say"), std::string::npos);
  EXPECT_NE(error_of([&] { open_tokenizer(folder.path() / "absent.txt"); }).find("absent.txt"), std::string::npos);
}

TEST(TokenizerTest, BehaviourThatMpqLacksIsRefused) {
  TemporaryFolder folder;
  open_tokenizer(golden / "wordpiece_vocab.txt")->save(folder.path(), 128);
  auto file = nlohmann::json::parse(read_file(folder.path() / "tokenizer.json"));
  file["normalizer"]["lowercase"] = false;
  write_file_atomic(folder.path() / "tokenizer.json", file.dump());
  EXPECT_NE(error_of([&] { open_tokenizer(folder.path()); }).find("\"lowercase\": false is not supported"),
            std::string::npos);
}

TEST(UnigramTest, TrainingIsDeterministicAndFollowsAlbert) {
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i)
    texts.push_back(fmt::format("The plot of film {} was not boring, it was {} charming.", i, i % 7));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const auto a = train_sentencepiece(views, 200), b = train_sentencepiece(views, 200);
  EXPECT_EQ(a->fingerprint(), b->fingerprint());
  const auto [pad, unk, cls, sep, mask] = a->special();
  EXPECT_EQ((std::vector<int32_t>{pad, unk, cls, sep, mask}), (std::vector<int32_t>{0, 1, 2, 3, 4}));
  const auto ids = ids_of(*a, "the PLOT");
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(a->token(ids[1]), "\u2581plot");
}

TEST(UnigramTest, TooLittleTextIsAUserError) { EXPECT_THROW(train_sentencepiece({}, 200), UserError); }

TEST(CharsmapTest, DamagedTablesAreRefused) {
  EXPECT_TRUE(Charsmap().empty());
  for (const char* blob : {"", "abc", "\xFF\xFF\xFF\x7F tail"}) EXPECT_THROW(Charsmap{blob}, UserError);
}

TEST(Base64Test, RoundTrips) {
  for (const std::string& text :
       {std::string(), std::string("a"), std::string("ab"), std::string("abc"), std::string("\0\xFF\x80", 3)})
    EXPECT_EQ(from_base64(to_base64(text)), text);
  EXPECT_EQ(to_base64("Man"), "TWFu");
  EXPECT_EQ(to_base64("M"), "TQ==");
  EXPECT_THROW(from_base64("a*b"), UserError);
}

TEST(TrieTest, FindsEveryPrefixAfterGrowing) {
  Trie trie;
  for (int i = 0; i < 5000; ++i) trie.add(fmt::format("key{}", i), i);
  for (int i = 0; i < 5000; ++i) EXPECT_EQ(trie.value(trie.walk(Trie::kRoot, fmt::format("key{}", i))), i);
  EXPECT_EQ(trie.value(trie.walk(Trie::kRoot, "key")), Trie::kNone);
  EXPECT_EQ(trie.walk(Trie::kRoot, "kex"), Trie::kNone);
}

}  // namespace
}  // namespace mpq
