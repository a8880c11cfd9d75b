// How far a long loop is, on standard error: a bar with the time left on a terminal, a plain line every 10 s elsewhere.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace mpq {

class Progress {
 public:
  // `done` > 0: work that an earlier run did; it counts for the bar and not for the rate.
  Progress(std::string what, int64_t total, std::string unit, int64_t done = 0);
  ~Progress();  // the last line stays on the screen
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Cheap enough for every step; `note` (a loss) stands at the end of the line.
  void update(int64_t done, const std::string& note = "");

 private:
  using Clock = std::chrono::steady_clock;
  void print();

  std::string what_, unit_, note_;
  int64_t total_, first_, done_;
  bool terminal_, printed_ = false;
  Clock::time_point start_, last_;
};

struct ProgressState {
  std::string what, unit, note;
  int64_t total, done;
  int64_t first;   // where this run began
  double seconds;  // since then
};

// "train [####----] 120/480 steps, 12.0/s, 30 s left, loss 0.43"; without the bar if bar_width is 0.
std::string progress_text(const ProgressState& state, int bar_width);

}  // namespace mpq
