#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"
#include "data/aclimdb_reader.h"
#include "data/archive.h"
#include "data/table_reader.h"
#include "temporary_folder.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

class ReaderTest : public ::testing::Test {
 protected:
  fs::path write(const std::string& name, const std::string& content) {
    write_file_atomic(folder_.path() / name, content);
    return folder_.path() / name;
  }
  // What the reader says about this content; the folder's name is cut off.
  std::string error_of(const std::string& name, const std::string& content, const Columns& columns = {}) {
    try {
      read_table(write(name, content), columns);
    } catch (const UserError& error) {
      const std::string what = error.what();
      return what.substr(what.find(name));
    }
    return "no error";
  }
  void shell(const std::string& command) {
    ASSERT_EQ(std::system(fmt::format("cd '{}' && {}", folder_.path().string(), command).c_str()), 0) << command;
  }
  TemporaryFolder folder_;
};

TEST(Sha256Test, EqualsThePublishedVectors) {  // FIPS 180-4 examples
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  Sha256 pieces;
  for (int i = 0; i < 1000; ++i) pieces.update(std::string(1000, 'a'));
  EXPECT_EQ(pieces.hex(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_F(ReaderTest, HeaderlessTsv) {
  const auto two = read_table(write("a.tsv", "1\tgood \"film\"\n0\tbad\r\n"), {});
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0].text, "good \"film\"");
  EXPECT_EQ(two[0].label, "1");
  EXPECT_EQ(two[1].text, "bad");
  EXPECT_EQ(two[1].place, "line 2");
  const auto three = read_table(write("b.tsv", "neg\ttrain/neg/0_3\tan unlucky\u0085film\n"), {});
  EXPECT_EQ(three[0].text, "an unlucky\u0085film");
  EXPECT_EQ(three[0].label, "neg");
}

TEST_F(ReaderTest, CsvWithQuotesAndNewlines) {
  const auto rows = read_table(
      write("a.csv", "id,Sentiment,Review\n7,pos,\"one, \"\"two\"\"\nthree\"\n8,neg,plain\r\n9,neg,\"last\"\r\n"), {});
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].text, "one, \"two\"\nthree");
  EXPECT_EQ(rows[1].place, "line 4");
  EXPECT_EQ(rows[2].text, "last");
}

TEST_F(ReaderTest, ColumnsByNameAndPosition) {
  const auto file = write("a.csv", "film,score,words\nf1,3,fine\nf2,5,great\n");
  const auto by_name = read_table(file, {.text = "words", .label = "score", .group = "film"});
  ASSERT_EQ(by_name.size(), 2u);
  EXPECT_EQ(by_name[1].group, "f2");
  EXPECT_EQ(by_name[1].label, "5");
  const auto by_position =
      read_table(write("b.csv", "f1,3,fine,x\nf2,5,great,y\n"), {.text = "3", .label = "2", .group = "1"});
  ASSERT_EQ(by_position.size(), 2u);
  EXPECT_EQ(by_position[0].text, "fine");
}

TEST_F(ReaderTest, EveryCompression) {
  write("a.tsv", "1\tgood\n0\tbad\n");
  shell("gzip -k a.tsv && xz -k a.tsv && bzip2 -k a.tsv");
  for (const char* name : {"a.tsv.gz", "a.tsv.xz", "a.tsv.bz2"})
    EXPECT_EQ(read_table(folder_.path() / name, {}).size(), 2u) << name;
}

TEST_F(ReaderTest, MalformedTablesNameTheLine) {
  EXPECT_EQ(error_of("a.tsv", "1\tgood\n0\tbad\textra\n"), "a.tsv, line 2: 3 columns instead of 2");
  EXPECT_EQ(error_of("a.tsv", "1\tgood\n0\n"), "a.tsv, line 2: 1 columns instead of 2");
  EXPECT_EQ(error_of("a.tsv", "1\tgood\n0\t  \n"), "a.tsv, line 2: the text is empty");
  EXPECT_EQ(error_of("a.tsv", "1\tgood\n\tbad\n"), "a.tsv, line 2: the label is empty");
  EXPECT_EQ(error_of("a.tsv", "1\tgood\n0\tb\xC3\n"), "a.tsv, line 2: byte 2 of the text is not valid UTF-8");
  EXPECT_EQ(error_of("a.tsv", ""), "a.tsv holds no rows");
  EXPECT_EQ(error_of("a.tsv", "text\tlabel\n"), "a.tsv holds no rows");
  EXPECT_EQ(error_of("a.tsv", "one column\n"), "a.tsv, line 1: 1 columns and no header");
  EXPECT_EQ(error_of("a.tsv", "a\tb\tc\td\n"), "a.tsv, line 1: 4 columns and no header");
  EXPECT_EQ(error_of("a.csv", "text,label\n\"open,1\n"), "a.csv, line 2: the quote that opens here never ends");
  EXPECT_EQ(error_of("a.csv", "text,label\n\"a\"b,1\n"), "a.csv, line 2: text behind a closing quote");
  EXPECT_EQ(error_of("a.csv", "text,label\na\"b,1\n"), "a.csv, line 2: a quote inside an unquoted field");
  EXPECT_EQ(error_of("a.csv", "\"a\nb\",1\n"), "a.csv, line 1: the label spans lines");
  EXPECT_EQ(error_of("a.csv", "1,\"a\nb\"\n2,c,3\n"), "a.csv, line 3: 3 columns instead of 2");
}

TEST_F(ReaderTest, UnknownColumnsAreNamed) {
  const std::string table = "text,label\na,1\n";
  EXPECT_EQ(error_of("a.csv", table, {.text = "body"}), "a.csv, line 1: there is no column \"body\" for the text");
  EXPECT_EQ(error_of("a.csv", table, {.group = "film"}), "a.csv, line 1: there is no column \"film\" for the group");
  EXPECT_EQ(error_of("a.csv", table, {.label = "3"}), "a.csv, line 1: there is no column 3 for the label");
  EXPECT_EQ(error_of("a.csv", table, {.text = "label"}), "a.csv, line 1: column 2 cannot be both text and label");
}

TEST_F(ReaderTest, DamagedArchives) {
  write("a.tsv", std::string(100'000, 'x') + "\t1\n");
  shell("gzip -k a.tsv && head -c 60 a.tsv.gz >cut.tsv.gz && xz -k a.tsv && head -c 60 a.tsv.xz >cut.tsv.xz");
  for (const char* name : {"cut.tsv.gz", "cut.tsv.xz"})
    EXPECT_THROW(read_decompressed(folder_.path() / name), UserError) << name;
  EXPECT_THROW(read_aclimdb(write("aclImdb_v1.tar.gz", "no archive"), "train"), UserError);
  EXPECT_THROW(read_decompressed(folder_.path() / "absent.tsv"), UserError);
}

class AclImdbTest : public ReaderTest {
 protected:
  void SetUp() override {
    const std::string base = "aclImdb/train/";
    write(base + "neg/10_1.txt", "tenth and dull");
    write(base + "neg/0_3.txt", "dull");
    write(base + "pos/0_9.txt", "bright");
    write(base + "unsup/0_0.txt", "unlabelled");
    write(base + "urls_pos.txt", "http://www.imdb.com/title/tt0000007/usercomments\n");
    std::string urls;
    for (int i = 0; i < 11; ++i) urls += fmt::format("http://www.imdb.com/title/tt{:07}/usercomments\n", 100 + i);
    write(base + "urls_neg.txt", urls);
  }
};

TEST_F(AclImdbTest, FolderAndArchiveGiveTheSameRows) {
  shell("tar czf aclImdb_v1.tar.gz aclImdb");
  for (const char* name : {"aclImdb", "aclImdb_v1.tar.gz"}) {
    const auto rows = read_aclimdb(folder_.path() / name, "train");
    ASSERT_EQ(rows.size(), 3u) << name;
    EXPECT_EQ(rows[0].text, "dull");
    EXPECT_EQ(rows[0].group, "tt0000100");
    EXPECT_EQ(rows[1].text, "tenth and dull");  // 10 after 0: by number
    EXPECT_EQ(rows[1].group, "tt0000110");
    EXPECT_EQ(rows[2].label, "pos");
    EXPECT_EQ(rows[2].group, "tt0000007");
    EXPECT_THROW(read_aclimdb(folder_.path() / name, "test"), UserError);
    const auto unlabelled = read_aclimdb(folder_.path() / name, "train", {"unsup"});
    ASSERT_EQ(unlabelled.size(), 1u);
    EXPECT_EQ(unlabelled[0].text, "unlabelled");
  }
}

TEST_F(AclImdbTest, BlankReviewsAreNamed) {
  write("aclImdb/train/pos/1_8.txt", " \n");
  try {
    read_aclimdb(folder_.path() / "aclImdb", "train");
    FAIL() << "a blank review passed";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("train/pos/1_8.txt: the text is empty"), std::string::npos)
        << error.what();
  }
}

TEST_F(AclImdbTest, TruncatedArchivesAreDamaged) {
  shell("tar czf whole.tar.gz aclImdb && head -c 200 whole.tar.gz >cut.tar.gz");
  EXPECT_THROW(read_aclimdb(folder_.path() / "cut.tar.gz", "train"), UserError);
}

TEST_F(AclImdbTest, PathsThatLeaveTheArchiveAreRefused) {
  write("evil.txt", "x");
  shell("tar cPzf evil.tar.gz ../$(basename $PWD)/evil.txt && tar cPzf absolute.tar.gz $PWD/evil.txt");
  for (const char* name : {"evil.tar.gz", "absolute.tar.gz"}) {
    try {
      read_aclimdb(folder_.path() / name, "train");
      FAIL() << name;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find("leaves the archive"), std::string::npos) << error.what();
    }
  }
}

TEST_F(ReaderTest, ImdbTableTakesFilmsFromMovies) {
  const auto table = write("train.tsv", "0\ttrain/neg/0_1\tdull\n1\ttrain/pos/0_9\tbright\n");
  const auto rows = read_imdb_table(table, write("movies.tsv", "train/neg/0_1\ttt1\ntrain/pos/0_9\ttt2\n"));
  EXPECT_EQ(rows[1].label, "pos");
  EXPECT_EQ(rows[1].group, "tt2");
  EXPECT_THROW(read_imdb_table(table, write("movies.tsv", "train/neg/0_1\ttt1\n")), UserError);
  const auto unlabelled = write("unsup.tsv", "-1\ttrain/neg/0_1\tdull\n");
  EXPECT_EQ(read_imdb_table(unlabelled, folder_.path() / "movies.tsv", true).size(), 1u);
  EXPECT_THROW(read_imdb_table(unlabelled, folder_.path() / "movies.tsv"), UserError);
}

}  // namespace
}  // namespace mpq
