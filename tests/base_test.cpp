#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/philox.h"
#include "base/text.h"
#include "tests/temporary_folder.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

TEST(Error, ACheckThatFailsShowsValuesAndPlace) {
  EXPECT_NO_THROW(check(true, "never"));
  try {
    check(1 == 2, "rows {} != {}", 1, 2);
    FAIL() << "the check passed";
  } catch (const InternalError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("rows 1 != 2"), std::string::npos) << text;
    EXPECT_NE(text.find("base_test.cpp"), std::string::npos) << text;
  }
}

TEST(Philox, KnownAnswers) {  // kat_vectors of Random123, philox4x32 10
  const auto words = [](const Philox& p) { return std::vector<uint32_t>(p.word, p.word + 4); };
  constexpr uint32_t f = 0xffffffff;
  EXPECT_EQ(words(philox(0, 0, 0, 0, 0, 0)), (std::vector<uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(words(philox(f, f, f, f, f, f)), (std::vector<uint32_t>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(words(philox(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0)),
            (std::vector<uint32_t>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
  EXPECT_EQ(to_uniform(0), 0.0f);
  EXPECT_LT(to_uniform(f), 1.0f);
}

TEST(Text, SplitTrimJoin) {
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string_view>{"a", "", "b"}));
  EXPECT_EQ(split("", ','), (std::vector<std::string_view>{""}));
  EXPECT_EQ(trim(" \t x y\r\n"), "x y");
  EXPECT_EQ(trim("  "), "");
  EXPECT_EQ(join({"a", "b"}, ", "), "a, b");
}

TEST(Text, NumbersAreWholeTextsOrNothing) {
  EXPECT_EQ(parse_int("-12"), -12);
  EXPECT_EQ(parse_double("5e-05"), 5e-5);
  for (const char* bad : {"", " 1", "1 ", "1x", "0x10", "9223372036854775808"}) EXPECT_FALSE(parse_int(bad)) << bad;
  for (const char* bad : {"", "1.5.", "one"}) EXPECT_FALSE(parse_double(bad)) << bad;
}

TEST(Text, Utf8IsCheckedAsRfc3629Says) {
  EXPECT_FALSE(find_invalid_utf8("plain, caf\xC3\xA9, \xE2\x82\xAC, \xF0\x9F\x98\x80"));
  EXPECT_EQ(find_invalid_utf8("ab\xC0\xAF"), 2u);        // overlong
  EXPECT_EQ(find_invalid_utf8("a\xED\xA0\x80"), 1u);     // surrogate
  EXPECT_EQ(find_invalid_utf8("\xF4\x90\x80\x80"), 0u);  // above U+10FFFF
  EXPECT_EQ(find_invalid_utf8("abc\xE2\x82"), 3u);       // cut off
  EXPECT_EQ(find_invalid_utf8("\x80"), 0u);              // a tail without a head
}

TEST(Text, HumanUnits) {
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1610612736), "1.5 GiB");
  EXPECT_EQ(human_seconds(125), "2 min 05 s");
  EXPECT_EQ(human_seconds(3 * 3600 + 59), "3 h 00 min");
}

TEST(Text, HashIsFnv1a) {  // Fowler, Noll and Vo's test suite
  EXPECT_EQ(hash64(""), 0xcbf29ce484222325ull);
  EXPECT_EQ(hash64("foobar"), 0x85944171f73967e8ull);
}

TEST(File, AMappingHoldsTheFile) {
  const TemporaryFolder folder;
  write_file_atomic(folder / "deep/file", "content");
  EXPECT_EQ(MappedFile(folder / "deep/file").text(), "content");
  EXPECT_EQ(read_file(folder / "deep/file"), "content");
  write_file_atomic(folder / "empty", "");
  EXPECT_EQ(MappedFile(folder / "empty").text(), "");
  EXPECT_THROW(MappedFile(folder / "absent"), UserError);
  EXPECT_THROW(MappedFile(folder.path()), UserError);
}

TEST(File, AFileMayComeInParts) {
  const TemporaryFolder folder;
  const std::string_view parts[] = {"con", "", "tent"};
  write_file_atomic(folder / "file", parts);
  EXPECT_EQ(read_file(folder / "file"), "content");
}

TEST(File, AWriteThatFailsLeavesTheOldFile) {
  const TemporaryFolder folder;
  write_file_atomic(folder / "file", "old");
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit full{8, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const std::string_view parts[] = {"new,", " but it has no room"};
  ::setrlimit(RLIMIT_FSIZE, &full);
  EXPECT_THROW(write_file_atomic(folder / "file", parts), UserError);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(read_file(folder / "file"), "old");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
  EXPECT_THROW(write_file_atomic(folder / "file" / "below", "x"), UserError);
}

TEST(File, AFolderAppearsWholeOrNotAtAll) {
  const TemporaryFolder folder;
  {
    AtomicFolder abandoned(folder / "target");
    write_file_atomic(abandoned.path() / "a", "1");
  }
  EXPECT_FALSE(fs::exists(folder / "target"));
  for (const char* content : {"first", "second"}) {
    AtomicFolder target(folder / "target");
    write_file_atomic(target.path() / content, content);
    target.commit();
  }
  EXPECT_FALSE(fs::exists(folder / "target" / "first")) << "the old folder's files must be gone";
  EXPECT_EQ(read_file(folder / "target" / "second"), "second");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1) << "a temporary folder was left behind";
}

TEST(Parallel, EveryTaskRunsOnceAndNestedCallsToo) {
  std::vector<std::atomic<int>> runs(1000);
  parallel_for(1000, [&](int64_t i) { ++runs[static_cast<size_t>(i)]; });
  for (const auto& count : runs) ASSERT_EQ(count, 1);
  std::atomic<int> inner{0};
  parallel_for(8, [&](int64_t) { parallel_for(8, [&](int64_t) { ++inner; }); });
  EXPECT_EQ(inner, 64);
  parallel_for(0, [](int64_t) { FAIL() << "no tasks, no calls"; });
}

TEST(Parallel, AnExceptionArrives) {
  const auto task = [](int64_t i) {
    if (i == 37) throw UserError("task 37");
  };
  EXPECT_THROW(parallel_for(100, task), UserError);
  std::atomic<int> runs{0};
  parallel_for(10, [&](int64_t) { ++runs; });  // the pool still works
  EXPECT_EQ(runs, 10);
}

}  // namespace
}  // namespace mpq
