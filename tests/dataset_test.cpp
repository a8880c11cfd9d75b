#include "data/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "data/synthetic.h"
#include "data/text_data.h"
#include "data/token_table.h"
#include "temporary_folder.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

const fs::path golden = fs::path(MPQ_SOURCE_DIR) / "tests/golden";

// Each test has a cache folder of its own.
class DatasetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("XDG_CACHE_HOME", (folder_.path() / "cache").c_str(), 1);
    ::unsetenv("MPQ_IMDB");
    ::unsetenv("MPQ_VOCAB");
  }
  void TearDown() override { ::unsetenv("XDG_CACHE_HOME"); }

  std::string write(const std::string& name, const std::string& content) {
    write_file_atomic(folder_.path() / name, content);
    return folder_.path() / name;
  }
  // 20 films of 10 reviews: film, label, text.
  std::string write_films() {
    std::string table = "film\tlabel\ttext\n";
    for (int i = 0; i < 200; ++i)
      table += fmt::format("film{}\t{}\tthe plot number {} was {}\n", i % 20, i / 20 % 2 ? "pos" : "neg", i, i);
    return write("films.tsv", table);
  }
  DataOptions options(const std::string& data) {
    DataOptions o;
    o.data = data;
    o.tokenizer = golden / "wordpiece_vocab.txt";
    return o;
  }
  static std::string error_of(const DataOptions& o) {
    try {
      load_dataset(o);
    } catch (const UserError& error) {
      return error.what();
    }
    return "no error";
  }
  std::vector<fs::path> cache_files() {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder_.path() / "cache/mpq/tokens")) files.push_back(entry.path());
    return files;
  }
  TemporaryFolder folder_;
};

TEST(AppendRowTest, HeadKeepsTheBeginning) {
  const SpecialIds special{0, 1, 2, 3, 4};
  const std::vector<int32_t> ids = {10, 11, 12, 13, 14, 15, 16, 17};
  const auto row = [&](int max_tokens, Truncate truncate) {
    std::vector<int32_t> out;
    append_row(ids, special, max_tokens, truncate, out);
    return out;
  };
  EXPECT_EQ(row(10, Truncate::Head), (std::vector<int32_t>{2, 10, 11, 12, 13, 14, 15, 16, 17, 3}));
  EXPECT_EQ(row(9, Truncate::Head), (std::vector<int32_t>{2, 10, 11, 12, 13, 14, 15, 16, 3}));
  EXPECT_EQ(row(8, Truncate::HeadTail), (std::vector<int32_t>{2, 10, 11, 14, 15, 16, 17, 3}));
  EXPECT_EQ(row(10, Truncate::HeadTail), row(10, Truncate::Head));
  EXPECT_EQ(row(3, Truncate::HeadTail), (std::vector<int32_t>{2, 17, 3}));
  std::vector<int32_t> long_row;
  append_row(std::vector<int32_t>(1000, 9), special, 512, Truncate::HeadTail, long_row);
  EXPECT_EQ(long_row.size(), 512u);
}

TEST(SyntheticTest, IsBalancedDeterministicAndShort) {
  const auto a = make_synthetic_corpus(), b = make_synthetic_corpus();
  ASSERT_EQ(a.train.size(), 10000u);
  ASSERT_EQ(a.test.size(), 2000u);
  std::map<std::string, int> labels;
  std::set<std::string> texts, train_films;
  for (size_t i = 0; i < a.train.size(); ++i) {
    EXPECT_EQ(a.train[i].text, b.train[i].text);
    ++labels[a.train[i].label];
    texts.insert(a.train[i].text);
    train_films.insert(a.train[i].group);
  }
  EXPECT_EQ(labels["positive"], 5000);
  EXPECT_EQ(labels["negative"], 5000);
  EXPECT_GT(texts.size(), 9900u);
  for (const Row& row : a.test) EXPECT_FALSE(train_films.contains(row.group));
}

TEST_F(DatasetTest, SyntheticLoadsWithItsOwnTokenizer) {
  DataOptions o;
  const Dataset data = load_dataset(o);
  EXPECT_EQ(data.train.row_count() + data.valid.row_count(), 10000);
  EXPECT_EQ(data.test.row_count(), 2000);
  EXPECT_EQ(data.label_names, (std::vector<std::string>{"negative", "positive"}));
  int64_t unknown = 0;
  for (int32_t token : data.test.tokens) unknown += token == data.tokenizer->special().unk;
  EXPECT_EQ(unknown, 0);
  EXPECT_LT(data.test.tokens.size(), 160'000u);  // words are whole pieces
  EXPECT_EQ(load_dataset(o).fingerprint, data.fingerprint);
}

TEST_F(DatasetTest, ValidationIsAFixedFifthOfTheGroups) {
  auto o = options(write_films());
  o.group_column = "film";
  const Dataset data = load_dataset(o);
  EXPECT_EQ(data.valid.row_count(), 40);
  EXPECT_EQ(data.train.row_count(), 160);
  EXPECT_EQ(data.test.row_count(), 0);
  // The same films whatever the order of the rows.
  std::vector<std::string> lines;
  std::ifstream in(o.data);
  for (std::string line; std::getline(in, line);) lines.push_back(line + "\n");
  std::reverse(lines.begin() + 1, lines.end());
  std::string reversed;
  for (const auto& line : lines) reversed += line;
  auto o2 = options(write("reversed.tsv", reversed));
  o2.group_column = "film";
  const Dataset again = load_dataset(o2);
  const auto rows = [](const Split& split) {
    std::multiset<std::vector<int32_t>> set;
    for (int64_t r = 0; r < split.row_count(); ++r) set.insert({split.row(r).begin(), split.row(r).end()});
    return set;
  };
  EXPECT_EQ(rows(again.valid), rows(data.valid));
}

TEST_F(DatasetTest, TextsAreSplitAsTokensAre) {
  fs::create_directories(folder_.path() / "set");
  fs::copy_file(write_films(), folder_.path() / "set/train.tsv");
  write("set/test.tsv", "film\tlabel\ttext\nx\tpos\tcharming\n");
  write("set/unlabelled.tsv", "film\tlabel\ttext\nx\tany\tfirst\ny\tother\tsecond\n");
  auto o = options(folder_.path() / "set");
  o.group_column = "film";
  o.unlabelled = true;
  for (const bool merge : {false, true}) {
    o.merge_valid_into_train = merge;
    const Dataset tokens = load_dataset(o);
    const TextData texts = load_texts(o);
    EXPECT_EQ(tokens.splits, texts.splits);
    const std::pair<const Split*, const TextSplit*> pairs[] = {{&tokens.train, &texts.train},
                                                               {&tokens.valid, &texts.valid},
                                                               {&tokens.test, &texts.test},
                                                               {&tokens.unlabelled, &texts.unlabelled}};
    for (const auto& [split, text] : pairs) {
      EXPECT_EQ(split->texts, text->hashes);
      EXPECT_EQ(split->labels, text->labels);
      for (size_t r = 0; r < text->texts.size(); ++r) EXPECT_EQ(hash64(text->texts[r]), text->hashes[r]);
    }
    EXPECT_EQ(tokens.unlabelled.row_count(), 2);
    o.unlabelled = false;
    EXPECT_EQ(load_dataset(o).unlabelled.row_count(), 0);
    EXPECT_EQ(load_dataset(o).splits, tokens.splits);
    o.unlabelled = true;
    o.rows = 100;
    EXPECT_NE(load_dataset(o).splits, tokens.splits);
    o.rows = 0;
  }
}

TEST_F(DatasetTest, MergeGivesEverythingToTraining) {
  auto o = options(write_films());
  o.merge_valid_into_train = true;
  const Dataset data = load_dataset(o);
  EXPECT_EQ(data.train.row_count(), 200);
  EXPECT_EQ(data.valid.row_count(), 0);
}

TEST_F(DatasetTest, RowsKeepClassesAndValidationInProportion) {
  auto o = options(write_films());
  o.rows = 50;
  o.test = o.data;
  const Dataset data = load_dataset(o);
  EXPECT_EQ(data.train.row_count(), 40);
  EXPECT_EQ(data.valid.row_count(), 10);
  EXPECT_EQ(data.test.row_count(), 50);
  EXPECT_EQ(std::count(data.test.labels.begin(), data.test.labels.end(), 0), 25);
  o.rows = 1000;
  EXPECT_EQ(load_dataset(o).train.row_count(), 160);
}

TEST_F(DatasetTest, FilesForValidationAndTest) {
  auto o = options(write_films());
  o.valid = write("valid.tsv", "neg\tdull\npos\tcharming\n");
  o.test = write("test.tsv", "pos\tcharming\n");
  const Dataset data = load_dataset(o);
  EXPECT_EQ(data.train.row_count(), 200);
  EXPECT_EQ(data.valid.labels, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(data.test.labels, (std::vector<int32_t>{1}));
}

TEST_F(DatasetTest, NumericLabelsSortByValue) {
  const Dataset data = load_dataset(options(write("a.tsv", "10\ta\n2\tb\n-1\tc\n2\td\n10\te\n")));
  EXPECT_EQ(data.label_names, (std::vector<std::string>{"-1", "2", "10"}));
}

TEST_F(DatasetTest, WrongDataIsAUserError) {
  EXPECT_NE(error_of(options(write("one.tsv", "1\ta\n1\tb\n"))).find("only the label 1"), std::string::npos);
  EXPECT_NE(error_of(options("/no/such/data.tsv")).find("no such file"), std::string::npos);
  EXPECT_NE(error_of(options(folder_.path())).find("not clear"), std::string::npos);
  EXPECT_NE(error_of(options("imdb")).find("--data imdb"), std::string::npos);
  auto o = options(write_films());
  o.test = write("test.tsv", "neg\tdull\nmixed\tso so\n");
  EXPECT_NE(error_of(o).find("test.tsv, line 2: the label \"mixed\""), std::string::npos);
  o = options(o.data);
  for (const char* share : {"0", "1", "-0.5", "nan"}) {
    o.valid = share;
    EXPECT_NE(error_of(o).find("--valid"), std::string::npos) << share;
  }
  o = options("synthetic");
  o.text_column = "text";
  EXPECT_NE(error_of(o).find("no columns to choose from"), std::string::npos);
  o = options(o.data);
  o.tokenizer = "sentencepiece:x";
  EXPECT_NE(error_of(o).find("--tokenizer sentencepiece:x"), std::string::npos);
}

TEST_F(DatasetTest, CacheGivesTheSameAndDamageIsRepaired) {
  const auto o = options(write_films());
  const std::string fresh = load_dataset(o).fingerprint;
  ASSERT_EQ(cache_files().size(), 1u);
  const fs::path file = cache_files()[0];
  const std::string content = read_file(file);
  EXPECT_EQ(load_dataset(o).fingerprint, fresh);
  std::string flipped = content;
  flipped[content.size() / 2] ^= 1;
  for (const std::string& damaged :
       {std::string(), content.substr(0, 20), content.substr(0, content.size() - 1), flipped, content + "x"}) {
    write_file_atomic(file, damaged);
    EXPECT_EQ(load_dataset(o).fingerprint, fresh);
    EXPECT_EQ(read_file(file), content);
  }
}

TEST_F(DatasetTest, WorksWithoutACacheFolder) {
  const auto o = options(write_films());
  const std::string fingerprint = load_dataset(o).fingerprint;
  ::setenv("XDG_CACHE_HOME", (write("a_file", "") + "/below").c_str(), 1);  // not even root can make a folder there
  EXPECT_EQ(load_dataset(o).fingerprint, fingerprint);
}

TEST_F(DatasetTest, ChangedDataIsReadAgain) {
  const auto o = options(write("a.tsv", "0\tdull\n1\tcharming\n0\tplot\n"));
  const std::string before = load_dataset(o).fingerprint;
  write("a.tsv", "0\tdull\n1\tcharming\n0\tfilm\n");
  EXPECT_NE(load_dataset(o).fingerprint, before);
}

TEST_F(DatasetTest, TokenizerAndTruncationChangeTheFingerprint) {
  auto o = options(write_films());
  const std::string before = load_dataset(o).fingerprint;
  o.max_tokens = 5;
  const Dataset cut = load_dataset(o);
  EXPECT_NE(cut.fingerprint, before);
  for (int64_t r = 0; r < cut.train.row_count(); ++r) EXPECT_EQ(cut.train.row(r).size(), 5u);
  o.tokenizer = golden / "spiece.model";
  EXPECT_NE(load_dataset(o).fingerprint, cut.fingerprint);
}

TEST_F(DatasetTest, SeveralMayBuildTheCacheAtOnce) {
  std::string table;
  for (int i = 0; i < 60; ++i) table += fmt::format("{}\tthe plot number {}\n", i % 2, i);  // few: read in one thread
  const auto o = options(write("few.tsv", table));
  const SplitSource source = open_source(o).train;
  const auto tokenizer = open_tokenizer(o.tokenizer);
  uint64_t checksums[4];
  std::vector<std::thread> threads;
  for (uint64_t& checksum : checksums)
    threads.emplace_back([&] { checksum = load_token_table(source, *tokenizer, nullptr).checksum; });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(cache_files().size(), 1u);
  for (uint64_t checksum : checksums) EXPECT_EQ(checksum, load_token_table(source, *tokenizer, nullptr).checksum);
}

}  // namespace
}  // namespace mpq
