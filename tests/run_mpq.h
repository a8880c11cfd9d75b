// Runs the real binary in a folder of its own: its streams, its exit code, and ways to end it early.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/file.h"
#include "base/text.h"
#include "tests/temporary_folder.h"

namespace mpq {

struct Outcome {
  int code;  // 128 + signal if one ended it
  std::string out, err;
  nlohmann::json result() const { return nlohmann::json::parse(split(trim(out), '\n').back()); }
};

class RunMpq : public testing::Test {
 protected:
  // Replaces {} by the test's folder. `before` stands in front of the command (VARIABLE=value, ulimit ...;).
  Outcome mpq(std::string arguments, const std::string& before = "") {
    return finish(start(std::move(arguments), before));
  }

  struct Process {
    pid_t pid;
    std::string name;
  };
  Process start(std::string arguments, const std::string& before = "") {
    for (size_t at; (at = arguments.find("{}")) != std::string::npos;)
      arguments.replace(at, 2, folder_.path().string());
    const std::string name = "run" + std::to_string(runs_++);
    const std::string command = before + " exec " + binary_ + " " + arguments + " >" + path(name + ".out").string() +
                                " 2>" + path(name + ".err").string();
    const std::string cache = "XDG_CACHE_HOME=" + path("cache").string();
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::execl("/usr/bin/env", "env", cache.c_str(), "bash", "-c", command.c_str(), nullptr);
      ::_exit(127);
    }
    return {pid, name};
  }
  Outcome finish(const Process& p) {
    int status = 0;
    ::waitpid(p.pid, &status, 0);
    return {WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), read_file(path(p.name + ".out")),
            read_file(path(p.name + ".err"))};
  }
  // Sends the signal once `ready` holds. Fails the test if the process ends before.
  Outcome interrupt(const Process& p, int signal, const std::function<bool()>& ready) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (!ready() && ::waitpid(p.pid, nullptr, WNOHANG) == 0 && std::chrono::steady_clock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(::kill(p.pid, signal), 0) << "it ended too early: " << read_file(path(p.name + ".err"));
    return finish(p);
  }

  std::filesystem::path path(const std::string& name) const { return folder_ / name; }
  std::string file(const std::string& name) const { return read_file(path(name)); }

  std::string binary_ = MPQ_BINARY;  // what `start` runs

 private:
  TemporaryFolder folder_;
  int runs_ = 0;
};

}  // namespace mpq
