// The command line as a user meets it: the real binary, its two streams and its exit code.
#include "app/command_line.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "app/options.h"
#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "base/text.h"
#include "nn/bert.h"
#include "tests/temporary_folder.h"

namespace mpq {
namespace {
namespace fs = std::filesystem;

struct Outcome {
  int code;
  std::string out, err;
};

class CommandLineTest : public testing::Test {
 protected:
  Outcome mpq(const std::string& arguments, const std::string& after = "") const {
    const std::string out = folder_ / "out", err = folder_ / "err";
    const std::string command =
        std::string(MPQ_BINARY) + " " + arguments + " 2>" + err + (after.empty() ? " >" + out : " " + after);
    const int status = std::system(command.c_str());
    return {WEXITSTATUS(status), after.empty() ? read_file(out) : "", read_file(err)};
  }

  std::vector<std::string> commands() const {
    std::vector<std::string> names;
    for (std::string_view line : split(mpq("-h").out, '\n'))
      if (line.starts_with("  ")) names.emplace_back(line.substr(2, line.find(' ', 2) - 2));
    return names;
  }

  TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

TEST_F(CommandLineTest, VersionAndUsage) {
  EXPECT_EQ(mpq("--version").out, "mpq " MPQ_VERSION "\n");
  EXPECT_EQ(mpq("").out, mpq("-h").out);
  EXPECT_EQ(mpq("help").out, mpq("-h").out);
  EXPECT_EQ(mpq("-h").code, 0);
}

TEST_F(CommandLineTest, EveryCommandTeachesWithAnExample) {
  ASSERT_FALSE(commands().empty());
  for (const std::string& command : commands()) {
    const Outcome help = mpq(command + " -h");
    EXPECT_EQ(help.code, 0) << command << help.err;
    EXPECT_NE(help.out.find("usage: mpq " + command), std::string::npos) << command;
    EXPECT_NE(help.out.find("Example"), std::string::npos) << command;
    EXPECT_EQ(mpq("help " + command).out, help.out);
  }
}

TEST_F(CommandLineTest, UnknownNamesAreUserErrorsWithASuggestion) {
  const Outcome command = mpq("inof");
  EXPECT_EQ(command.code, 2);
  EXPECT_EQ(command.err, "error: unknown command inof\nhint: did you mean mpq info?\n");
  EXPECT_EQ(command.out, "");
  const Outcome flag = mpq("info --jason");
  EXPECT_EQ(flag.code, 2);
  EXPECT_EQ(flag.err, "error: unknown option --jason\nhint: did you mean --json? mpq info -h lists the options\n");
  EXPECT_EQ(mpq("info stray").err, "error: unexpected argument stray\nhint: mpq info -h lists the options\n");
}

TEST_F(CommandLineTest, EveryCommandRefusesAnUnknownFlag) {
  for (const std::string& command : commands()) {
    const Outcome outcome = mpq(command + " --zzzzzz");
    EXPECT_EQ(outcome.code, 2) << command;
    EXPECT_NE(outcome.err.find("unknown option --zzzzzz"), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("mpq " + command + " -h"), std::string::npos) << outcome.err;
  }
}

TEST_F(CommandLineTest, AnAbbreviationIsNoFlag) { EXPECT_EQ(mpq("info --js").code, 2); }

TEST_F(CommandLineTest, JsonIsOneObjectALine) {
  const Outcome outcome = mpq("info --json");
  EXPECT_EQ(outcome.code, 0);
  const auto lines = split(trim(outcome.out), '\n');
  ASSERT_GE(lines.size(), 2u);
  EXPECT_EQ(nlohmann::json::parse(lines.front()).at("command"), "info");
  EXPECT_EQ(nlohmann::json::parse(lines.back()).at("version"), MPQ_VERSION);
}

TEST_F(CommandLineTest, ConfigFileErrorsNameTheFile) {
  const std::string ini = folder_ / "mpq.ini";
  write_file_atomic(ini, "jsom = true\n");
  const Outcome outcome = mpq("info --config " + ini);
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find(ini + ": unknown option"), std::string::npos) << outcome.err;
  EXPECT_EQ(mpq("info --config " + (folder_ / "absent").string()).code, 2);
  write_file_atomic(ini, "no equals sign\n");
  EXPECT_EQ(mpq("info --config " + ini).code, 2);
}

TEST_F(CommandLineTest, AWrongLogLevelIsRefusedAtOnce) {
  ::setenv("MPQ_LOG", "loud", 1);
  const Outcome outcome = mpq("info");
  ::unsetenv("MPQ_LOG");
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("MPQ_LOG=loud"), std::string::npos) << outcome.err;
}

TEST_F(CommandLineTest, AClosedPipeIsQuietAndAFullDiskIsNot) {
  EXPECT_EQ(mpq("info", "| head -c 1 >/dev/null").err, "");
  const Outcome full = mpq("info", ">/dev/full");
  EXPECT_EQ(full.code, 2);
  EXPECT_NE(full.err.find("cannot write standard output"), std::string::npos);
}

// The frame itself, without a process.
struct Sample {
  std::string name = "default", mode = "a";
  int count = 3;
  double rate = 0.5;
  std::optional<int64_t> rows;
  bool fast = false;
  std::vector<std::string> many, words;

  void declare(CommandLine& line) {
    line.option("name", name, "TEXT", "a name");
    line.choice("mode", mode, {"a", "b"}, "a mode");
    line.option("count", count, "N", "a count", {.min = 1, .max = 8});
    line.option("rate", rate, "X", "a rate", {.above = 0, .below = 1});
    line.option("rows", rows, "N", "rows", {.min = 1});
    line.flag("fast", fast, "a flag");
    line.list("many", many, "TEXT", "a list");
    line.positional("word", words, 2);
  }
};

Sample parsed(const Args& args) {
  Sample sample;
  CommandLine line("sample", "");
  sample.declare(line);
  EXPECT_TRUE(line.parse(args));
  return sample;
}

std::string hint_of(const Args& args) {
  try {
    parsed(args);
  } catch (const UserError& error) {
    return error.hint();
  }
  return "accepted";
}

TEST(CommandLine, OptionsOfEveryKind) {
  const Sample s = parsed({"one", "--name", "two words", "--mode=b", "--count", "8", "--rate", "0.25", "--rows", "7",
                           "--fast", "--many", "x=1", "--many", "y=2", "last"});
  EXPECT_EQ(s.name, "two words");
  EXPECT_EQ(s.mode, "b");
  EXPECT_EQ(s.count, 8);
  EXPECT_EQ(s.rate, 0.25);
  EXPECT_EQ(s.rows, 7);
  EXPECT_TRUE(s.fast);
  EXPECT_EQ(s.many, (std::vector<std::string>{"x=1", "y=2"}));
  EXPECT_EQ(s.words, (std::vector<std::string>{"one", "last"}));
}

TEST(CommandLine, RangesSayWhatIsAllowed) {
  EXPECT_EQ(hint_of({"--count", "0"}), "--count takes a whole number from 1 up to 8");
  EXPECT_EQ(hint_of({"--count", "9"}), "--count takes a whole number from 1 up to 8");
  EXPECT_EQ(hint_of({"--count", "1.5"}), "--count takes a whole number from 1 up to 8");
  EXPECT_EQ(hint_of({"--count", "99999999999999999999"}), "--count takes a whole number from 1 up to 8");
  EXPECT_EQ(hint_of({"--rate", "1"}), "--rate takes a number above 0 below 1");
  EXPECT_EQ(hint_of({"--rate", "nan"}), "--rate takes a number above 0 below 1");
  EXPECT_EQ(hint_of({"--mode", "c"}), "--mode takes a, b");
  EXPECT_EQ(hint_of({"--name", "x", "--name", "y"}), "give it once");
  EXPECT_EQ(hint_of({"a", "b", "c"}), "mpq sample -h lists the options");
}

TEST(CommandLine, TheCommandLineWinsOverTheConfigFile) {
  const TemporaryFolder folder;
  const fs::path ini = folder / "run.ini";
  write_file_atomic(ini, "# a comment\nname = from the file\ncount = 5\nfast = true\nmany = a\nmany = b\n");
  const Sample s = parsed({"--config", ini, "--count", "6"});
  write_file_atomic(ini, "count = 50\n");
  EXPECT_EQ(hint_of({"--config", ini}), "--count takes a whole number from 1 up to 8");
  write_file_atomic(ini, "fast = maybe\n");
  EXPECT_EQ(hint_of({"--config", ini}), "fast takes true or false");
  EXPECT_EQ(s.name, "from the file");
  EXPECT_EQ(s.count, 6);
  EXPECT_TRUE(s.fast);
  EXPECT_EQ(s.many, (std::vector<std::string>{"a", "b"}));
}

TEST(CommandLine, AnnouncesACommandThatCanBeTypedAgain) {
  Sample sample;
  CommandLine line("sample", "");
  sample.declare(line);
  ASSERT_TRUE(line.parse({"word", "--name", "it's", "--fast", "--many", "x", "--rate", "1e-05"}));
  testing::internal::CaptureStderr();
  line.announce();
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "mpq sample word --name 'it'\\''s' --mode a --count 3 --rate 1e-05 --fast --many x\n");
  EXPECT_TRUE(line.given("name"));
  EXPECT_FALSE(line.given("mode"));
  EXPECT_THROW(line.require({"rows"}), UserError);
  EXPECT_NO_THROW(line.require({"name"}));
}

TEST(Model, Shapes) {
  EXPECT_EQ(parse_model("tiny").hidden, 128);
  EXPECT_EQ(parse_model("base").layers, 12);
  const BertConfig own = parse_model("3,96,4,200");
  EXPECT_EQ(own.layers, 3);
  EXPECT_EQ(own.ffn, 200);
  for (const char* bad :
       {"huge", "2,128,2", "2,128,3,512", "2,128,0,512", "2,128,32,512", "2,1024,2,64", "2,128,2,5e2"})
    EXPECT_THROW(parse_model(bad), UserError) << bad;
}

TEST(Nearest, SuggestsOnlyWhatIsClose) {
  EXPECT_EQ(nearest("serach", {"search", "study"}), "search");
  EXPECT_EQ(nearest("zzzzzz", {"search", "study"}), "");
  EXPECT_EQ(nearest("evl", {"eval", "bench"}), "eval");
}

}  // namespace
}  // namespace mpq
