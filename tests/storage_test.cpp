// The SQLite storage: Optuna's schema, bad files, two processes on one study, and kills at any moment.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/error.h"
#include "search/memory_storage.h"
#include "search/owner.h"
#include "search/sqlite_database.h"
#include "search/study.h"

namespace mpq {
namespace {

class SqliteTest : public ::testing::Test {
 protected:
  SqliteTest() {
    const bool memory = std::filesystem::exists("/dev/shm");  // there a commit need not wait for a disk
    std::string name = memory ? "/dev/shm/mpq_storage_XXXXXX" : "/tmp/mpq_storage_XXXXXX";
    folder_ = mkdtemp(name.data());
  }
  ~SqliteTest() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return (folder_ / "study.db").string(); }
  std::string url() const { return "sqlite:///" + path(); }
  std::unique_ptr<Storage> create() const { return open_storage(url(), OpenMode::create); }
  std::unique_ptr<Storage> reopen() const { return open_storage(url(), OpenMode::existing); }
  void sql(const char* text) const { Database(path(), false).execute(text); }
  std::string query(const char* text) const {
    Database database(path(), false);
    Statement row(database, text);
    return row.step() ? row.text(0) : "no row";
  }

  std::filesystem::path folder_;
};

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

StudyOptions toy_options(int parallel = 1) {
  SearchSpace space;
  for (const char* name : {"encoder.q", "encoder.k", "encoder.v", "classifier"})
    space.emplace_back(name, categorical({"none", "integer(width=8,frac=4)", "binary()"}));
  return {
      .name = "toy", .sampler = {.name = "tpe", .seed = 7}, .parallel = parallel, .space = space, .metric = "accuracy"};
}

double toy_value(const FrozenTrial& trial) {
  double value = 0;
  for (const TrialParameter& p : trial.params) value = value * 0.5 + p.value;
  return value;
}

void run_toy(Storage& storage, const StudyOptions& options, int64_t trials) {
  Study study(storage, options);
  for (auto wave = study.ask(trials); !wave.empty(); wave = study.ask(trials))
    for (Trial& trial : wave) study.tell(trial, toy_value(trial.record()));
}

std::vector<std::vector<double>> choices(Storage& storage) {
  std::vector<std::vector<double>> all;
  for (const FrozenTrial& trial : storage.read_trials(storage.read_study("toy").id, 0)) {
    all.emplace_back();
    for (const TrialParameter& p : trial.params) all.back().push_back(p.value);
  }
  return all;
}

std::vector<std::vector<double>> uninterrupted(const StudyOptions& options, int64_t trials) {
  MemoryStorage storage;
  run_toy(storage, options, trials);
  return choices(storage);
}

TEST_F(SqliteTest, KeepsEverything) {
  {
    const auto storage = create();
    Study study(*storage, toy_options(5));
    auto wave = study.ask(5);
    wave[0].set_user_attr("mpq:note", nlohmann::json{{"a", 3}});
    wave[0].set_constraints({0.5, -1});
    wave[0].report(3, 0.25);
    study.tell(wave[0], 0.1);
    study.tell(wave[1], HUGE_VAL);
    study.tell(wave[2], TrialState::pruned);
    study.tell(wave[3], TrialState::fail);
    study.save(wave[4]);
  }
  const auto storage = reopen();
  const StudyRecord study = storage->read_study("toy");
  EXPECT_EQ(study.directions, std::vector{Direction::maximize});
  EXPECT_EQ(study.system_attrs.at("study:metric_names"), "[\"accuracy\"]");
  const auto trials = storage->read_trials(study.id, 0);
  ASSERT_EQ(trials.size(), 5u);
  EXPECT_EQ(trials[0].values, std::vector{0.1});
  EXPECT_EQ(trials[0].user_attrs.at("mpq:note"), "{\"a\":3}");
  EXPECT_EQ(trials[0].constraints, (std::vector{0.5, -1.0}));
  EXPECT_EQ(trials[0].intermediate_values.at(3), 0.25);
  EXPECT_EQ(trials[0].params.size(), 4u);
  EXPECT_EQ(trials[0].params[0].name, "encoder.q");
  EXPECT_TRUE(std::regex_match(trials[0].started, std::regex(R"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6})")));
  EXPECT_LE(trials[0].started, trials[0].completed);
  EXPECT_EQ(trials[1].values, std::vector{HUGE_VAL});
  EXPECT_EQ(trials[2].state, TrialState::pruned);
  EXPECT_EQ(trials[3].state, TrialState::fail);
  EXPECT_EQ(trials[4].state, TrialState::running);
  EXPECT_LT(trials[4].heartbeat_age, 60);
  EXPECT_EQ(query("SELECT version_num FROM alembic_version"), "v3.2.0.a");
  EXPECT_EQ(query("PRAGMA journal_mode"), "delete");
  EXPECT_EQ(query("SELECT distribution_json FROM trial_params"), to_json(toy_options().space[0].second));
}

TEST_F(SqliteTest, FinishedTrialsAreNeverModified) {
  const auto storage = create();
  Study study(*storage, toy_options());
  auto wave = study.ask(1);
  study.tell(wave[0], 0.5);
  FrozenTrial changed = study.trials()[0];
  changed.values = {0.9};
  EXPECT_FALSE(storage->save_trial(changed));
  EXPECT_EQ(storage->read_trials(1, 0)[0].values, std::vector{0.5});
}

TEST_F(SqliteTest, ResultOfATrialThatAnotherProcessFinishedIsDropped) {
  const auto storage = create();
  Study study(*storage, toy_options());
  auto wave = study.ask(9);
  sql("UPDATE trials SET state = 'FAIL'");
  study.tell(wave[0], 0.5);
  study.ask(9);
  EXPECT_EQ(study.trials()[0].state, TrialState::fail);
}

TEST_F(SqliteTest, TwoProcessesShareAStudy) {
  create();
  constexpr int64_t trials = 40;
  std::vector<pid_t> children;
  for (int i = 0; i < 2; ++i) {
    children.push_back(fork());
    if (children.back() != 0) continue;
    try {
      const auto storage = reopen();
      run_toy(*storage, toy_options(3), trials);
      _exit(0);
    } catch (...) {
      _exit(1);
    }
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  const auto storage = reopen();
  const auto all = storage->read_trials(storage->read_study("toy").id, 0);  // throws unless numbers are contiguous
  EXPECT_EQ(all.size(), static_cast<size_t>(trials));
  for (const FrozenTrial& trial : all) {
    EXPECT_EQ(trial.state, TrialState::complete);
    EXPECT_EQ(trial.values, std::vector{toy_value(trial)});
  }
}

TEST_F(SqliteTest, KilledProcessLeavesItsTrialsToTheNext) {
  const StudyOptions options = toy_options(3);
  const pid_t child = fork();
  if (child == 0) {
    const auto storage = create();
    Study study(*storage, options);
    auto wave = study.ask(12);
    study.tell(wave[1], toy_value(wave[1].record()));
    raise(SIGKILL);
  }
  waitpid(child, nullptr, 0);
  const auto storage = reopen();
  const auto before = choices(*storage);
  ASSERT_EQ(before.size(), 3u);
  {
    Study study(*storage, options);
    auto wave = study.ask(12);
    ASSERT_EQ(wave.size(), 2u);
    EXPECT_EQ(wave[0].number(), 0);
    EXPECT_EQ(wave[1].number(), 2);
  }
  EXPECT_EQ(choices(*storage), before);
  run_toy(*storage, options, 30);
  EXPECT_EQ(choices(*storage), uninterrupted(options, 30));
}

TEST_F(SqliteTest, KilledAtAnyMomentEndsAsUninterrupted) {
  const StudyOptions options = toy_options(2);
  constexpr int64_t trials = 30;
  create();
  for (int kill_after_ms = 2; kill_after_ms < 60; kill_after_ms += 7) {
    const pid_t child = fork();
    if (child == 0) {
      const auto storage = reopen();
      run_toy(*storage, options, trials);
      _exit(0);
    }
    usleep(static_cast<useconds_t>(kill_after_ms) * 1000);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  const auto storage = reopen();
  run_toy(*storage, options, trials);
  EXPECT_EQ(choices(*storage), uninterrupted(options, trials));
}

TEST_F(SqliteTest, HeartbeatTellsOtherHosts) {
  const auto storage = create();
  const auto claimed = [&] { return Study(*storage, toy_options(2)).ask(2).size(); };
  Study study(*storage, toy_options(2));
  study.ask(2);
  sql("UPDATE trial_system_attributes SET value_json = '\"otherhost 1 1\"' WHERE \"key\" = 'mpq:owner'");
  EXPECT_EQ(claimed(), 0u);  // it may be alive
  sql("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00'");
  study.heartbeat();
  EXPECT_EQ(claimed(), 0u);
  sql("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00'");
  study.heartbeat();  // too soon after the last one
  EXPECT_EQ(claimed(), 2u);
}

TEST_F(SqliteTest, JournalIsLeftToViewers) {
  auto first = create(), second = create();
  EXPECT_EQ(query("PRAGMA journal_mode"), "wal");
  first.reset();
  EXPECT_EQ(query("PRAGMA journal_mode"), "wal");
  second.reset();
  EXPECT_EQ(query("PRAGMA journal_mode"), "delete");
}

TEST_F(SqliteTest, BadUrlsAndFilesAreRefused) {
  EXPECT_TRUE(holds(error_of([&] { reopen(); }), "no such file"));
  EXPECT_FALSE(std::filesystem::exists(path()));
  EXPECT_TRUE(holds(error_of([] { open_storage("mysql://host/db", OpenMode::create); }), "not a storage mpq knows"));
  EXPECT_NE(error_of([] { open_storage("sqlite:////no/such/folder/x.db", OpenMode::create); }), "no error");
  std::ofstream(path()) << "This is a text of more than a hundred bytes, which certainly is no SQLite database at all, "
                           "so that opening it has to fail with a message.";
  EXPECT_TRUE(holds(error_of([&] { reopen(); }), "not a database"));
  EXPECT_TRUE(holds(error_of([&] { create(); }), "not a database"));
}

TEST_F(SqliteTest, ForeignAndOldSchemasAreRefused) {
  Database(path(), true).execute("CREATE TABLE accounts(id INTEGER)");
  EXPECT_TRUE(holds(error_of([&] { create(); }), "not an Optuna storage"));
  std::filesystem::remove(path());
  create();
  sql("UPDATE alembic_version SET version_num = 'v2.6.0.a'");
  EXPECT_TRUE(holds(error_of([&] { reopen(); }), "v2.6.0.a"));
  sql("UPDATE alembic_version SET version_num = 'v3.0.0.d'");  // Optuna 3.1
  EXPECT_EQ(error_of([&] { reopen(); }), "no error");
}

TEST_F(SqliteTest, DamagedContentIsRefused) {
  const char* damages[] = {
      "UPDATE trials SET state = 'Complete' WHERE number = 1",
      "UPDATE trials SET number = 7 WHERE number = 1",
      "UPDATE trials SET number = 0 WHERE number = 1",
      "UPDATE trial_params SET param_value = 3.0",
      "UPDATE trial_params SET param_value = 0.5",
      "UPDATE trial_params SET param_value = NULL",
      "UPDATE trial_params SET param_name = CAST(X'C328' AS TEXT) WHERE param_name = 'classifier'",
      "UPDATE trial_params SET distribution_json = '{\"name\":'",
      "UPDATE trial_values SET value = NULL",
      "UPDATE trial_values SET value_type = 'NAN'",
      "DELETE FROM trial_values",
      "INSERT INTO trial_system_attributes VALUES (99, 1, 'constraints', '[\"x\"]')",
      "UPDATE study_directions SET direction = 'UP'",
      "DROP TABLE trial_params",
  };
  for (const char* damage : damages) {
    std::filesystem::remove(path());
    run_toy(*create(), toy_options(), 3);
    sql(damage);
    const auto read = [&] {
      const auto storage = reopen();
      storage->read_trials(storage->read_study("toy").id, 0);
    };
    EXPECT_TRUE(holds(error_of(read), ": ")) << damage;
  }
}

TEST_F(SqliteTest, TruncatedFileIsRefused) {
  run_toy(*create(), toy_options(), 20);  // and closed, so that the file has everything
  std::filesystem::resize_file(path(), std::filesystem::file_size(path()) / 2);
  const auto read = [&] {
    const auto storage = reopen();
    storage->read_trials(storage->read_study("toy").id, 0);
  };
  EXPECT_NE(error_of(read), "no error");
}

std::string output_of(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  for (int c; (c = fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  pclose(pipe);
  return text;
}

TEST_F(SqliteTest, StudyCommand) {
  run_toy(*create(), toy_options(), 15);
  const auto storage = reopen();
  const auto trials = storage->read_trials(1, 0);
  const FrozenTrial* best = best_trial(trials, Direction::maximize);
  const std::string mpq = std::string(MPQ_BINARY) + " study ", where = " --storage " + url() + " 2>&1";
  const std::string json = output_of(mpq + "best --json" + where);
  EXPECT_TRUE(
      holds(json, fmt::format("{{\"number\":{},\"state\":\"COMPLETE\",\"value\":{}", best->number, best->values[0])))
      << json;
  EXPECT_TRUE(holds(output_of(mpq + "list" + where), "toy"));
  const std::string table = output_of(mpq + "export" + where);
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 16);
  EXPECT_TRUE(table.starts_with("number\tstate\tvalue\tdatetime_start\tdatetime_complete\tparams_encoder.q\t"));
  EXPECT_TRUE(holds(output_of(mpq + "show --study other" + where), "its studies: toy"));
  EXPECT_TRUE(holds(output_of(mpq + "delete" + where), "allowed: list, show, best, export"));
}

TEST(Owner, AProcessIsDeadBeforeItsParentHasWaitedForIt) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const std::string owner = this_process();
    const ssize_t written = write(pipe_ends[1], owner.data(), owner.size());
    _exit(written == static_cast<ssize_t>(owner.size()) ? 0 : 1);
  }
  close(pipe_ends[1]);
  std::string owner;
  for (char c; read(pipe_ends[0], &c, 1) == 1;) owner += c;
  close(pipe_ends[0]);
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_TRUE(is_dead(owner, 0));
  EXPECT_FALSE(is_dead(this_process(), 0));
  waitpid(child, nullptr, 0);
}

TEST(NewStudy, OnlyItsCreatorIsTold) {
  MemoryStorage storage;
  int told = 0;
  for (int i = 0; i < 2; ++i) storage.create_study({.name = "s", .directions = {Direction::maximize}}, [&] { ++told; });
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace mpq
